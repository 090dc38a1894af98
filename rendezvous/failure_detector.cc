#include "rendezvous/failure_detector.h"

#include <algorithm>
#include <cmath>

namespace closeranks::rendezvous {
namespace {

// Of the news so much goes into the mean and into the deviation, as in TCP.
constexpr double kMeanGain = 1.0 / 8;
constexpr double kDeviationGain = 1.0 / 4;
// Twice Jacobson's: a wrong suspicion costs more than a segment that is sent twice.
constexpr double kDeviations = 8;
// The longest silence is forgotten by half in some 1,400 heartbeats.
constexpr double kForgetting = 1.0 / 2048;
constexpr double kOfTheLongest = 2;
// From so many on a peer is known.
constexpr int kKnown = 8;

}  // namespace

void FailureDetector::Heard(Duration silence, const Bounds& bounds) {
  if (silence < bounds.interval / 2 || silence > bounds.most) return;
  const auto news = static_cast<double>(std::min(silence, 2 * Patience(bounds)).count());
  if (heartbeats_ == 0) mean_ = news;
  deviation_ += (std::abs(news - mean_) - deviation_) * kDeviationGain;
  mean_ += (news - mean_) * kMeanGain;
  longest_ = std::max(news, longest_ * (1 - kForgetting));
  heartbeats_ = std::min(heartbeats_ + 1, kKnown);
}

Duration FailureDetector::Patience(const Bounds& bounds) const {
  const double usual = std::max(mean_ + kDeviations * deviation_, kOfTheLongest * longest_);
  const Duration least =
      heartbeats_ < kKnown ? std::max(bounds.least, bounds.most / 4) : bounds.least;
  return std::clamp(Duration(static_cast<int64_t>(usual)), least, bounds.most);
}

}  // namespace closeranks::rendezvous
