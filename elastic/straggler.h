// Whether this rank is persistently slower than the others, which wait for it in every step.
#ifndef CLOSERANKS_ELASTIC_STRAGGLER_H_
#define CLOSERANKS_ELASTIC_STRAGGLER_H_

#include <array>
#include <cstddef>
#include <optional>

#include "base/clock.h"

namespace closeranks::elastic {

// How fast a rank computes its part of a step. Summed over the ranks with the step's other numbers.
struct Pace {
  double seconds_per_sample = 0;
  double ranks = 0;  // that had samples to compute

  static Pace Of(int samples, Duration time);
};

class StragglerWatch {
 public:
  static constexpr size_t kSteps = 20;
  static constexpr double kSlow = 1.3;
  static constexpr double kWell = 1.15;  // again
  // Who loses less in a step isn't slow in it, whatever the factor.
  static constexpr double kLeastSeconds = 0.001;

  // After each step: this rank's pace with its samples, and the sum over all ranks. How many times
  // as long as the others (their mean) it takes for a sample, by the median of the last kSteps
  // steps that it had a part of; only when that has come to kSlow, and once until it was well
  // again.
  std::optional<double> Heard(const Pace& mine, int samples, const Pace& sum);

 private:
  std::array<double, kSteps> slowness_{};  // of the newest steps, as a ring
  size_t steps_ = 0;
  bool named_ = false;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_STRAGGLER_H_
