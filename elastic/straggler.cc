#include "elastic/straggler.h"

#include <algorithm>
#include <chrono>

namespace closeranks::elastic {

Pace Pace::Of(int samples, Duration time) {
  if (samples <= 0 || time <= Duration::zero()) return {};
  return {std::chrono::duration<double>(time).count() / samples, 1};
}

std::optional<double> StragglerWatch::Heard(const Pace& mine, int samples, const Pace& sum) {
  if (mine.ranks == 0 || sum.ranks < 2) return std::nullopt;
  const double others = (sum.seconds_per_sample - mine.seconds_per_sample) / (sum.ranks - 1);
  if (!(others > 0)) return std::nullopt;
  const bool is_noticeable = (mine.seconds_per_sample - others) * samples >= kLeastSeconds;
  slowness_[steps_++ % kSteps] = is_noticeable ? mine.seconds_per_sample / others : 1.0;
  if (steps_ < kSteps) return std::nullopt;
  std::array<double, kSteps> sorted = slowness_;
  std::nth_element(sorted.begin(), sorted.begin() + kSteps / 2, sorted.end());
  const double median = sorted[kSteps / 2];
  if (median < kWell) named_ = false;
  if (median < kSlow || named_) return std::nullopt;
  named_ = true;
  return median;
}

}  // namespace closeranks::elastic
