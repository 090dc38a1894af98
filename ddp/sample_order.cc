#include "ddp/sample_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "glog/logging.h"

namespace closeranks::ddp {

SampleOrder::SampleOrder(uint64_t seed, int64_t samples, int64_t batch)
    : seed_(seed), samples_(samples), batch_(batch) {
  CHECK_GT(samples, 0);
  CHECK_GT(batch, 0);
}

SampleOrder::BatchIds SampleOrder::Batch(StepNumber step) {
  CHECK_GT(step, 0u) << "steps are numbered from 1";
  const int64_t index = static_cast<int64_t>(step) - 1;
  const int64_t epoch = index / StepsPerEpoch() + 1;
  if (epoch != shuffled_epoch_) Shuffle(epoch);
  const int64_t begin = index % StepsPerEpoch() * batch_;
  const int64_t end = std::min(begin + batch_, samples_);
  return {epoch, std::span<const int64_t>(order_).subspan(begin, end - begin)};
}

// Fisher and Yates, from the identity: an epoch's order doesn't depend on the epochs before it.
void SampleOrder::Shuffle(int64_t epoch) {
  order_.resize(samples_);
  std::iota(order_.begin(), order_.end(), int64_t{0});
  // Mixed, because neighbouring seeds and epochs would otherwise draw overlapping streams.
  SeededRandom random(MixBits(MixBits(seed_) + static_cast<uint64_t>(epoch)));
  for (int64_t last = samples_ - 1; last > 0; --last) {
    std::swap(order_[last], order_[random.Below(last + 1)]);
  }
  shuffled_epoch_ = epoch;
}

}  // namespace closeranks::ddp
