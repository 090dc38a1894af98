// Which samples a step trains on: the same answer on every member, from the seed and the step
// alone.
#ifndef CLOSERANKS_DDP_SAMPLE_ORDER_H_
#define CLOSERANKS_DDP_SAMPLE_ORDER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/member.h"

namespace closeranks::ddp {

// Every epoch visits every sample exactly once, in an order drawn from the seed and the epoch.
// Because the order is a function and not a state, a rank that was away, or joins late, needs only
// the number of the step. Keeps one epoch's order in memory (8 bytes a sample). Single-threaded.
class SampleOrder {
 public:
  struct BatchIds {
    int64_t epoch;  // from 1
    // Valid until a batch of another epoch is asked for.
    std::span<const int64_t> ids;
  };

  // Samples have the ids 0 to samples - 1; a step takes `batch` of them, the last of an epoch what
  // is left. Both must be positive.
  SampleOrder(uint64_t seed, int64_t samples, int64_t batch);

  // Steps are numbered from 1 through all epochs.
  BatchIds Batch(StepNumber step);

  int64_t StepsPerEpoch() const { return (samples_ + batch_ - 1) / batch_; }
  int64_t samples() const { return samples_; }

 private:
  void Shuffle(int64_t epoch);

  const uint64_t seed_;
  const int64_t samples_;
  const int64_t batch_;
  int64_t shuffled_epoch_ = 0;  // whose order `order_` is; 0: none yet
  std::vector<int64_t> order_;
};

}  // namespace closeranks::ddp

#endif  // CLOSERANKS_DDP_SAMPLE_ORDER_H_
