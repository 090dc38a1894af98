// A model for tests of elastic training: a list of numbers, no torch.
#ifndef CLOSERANKS_ELASTIC_TOY_REPLICA_H_
#define CLOSERANKS_ELASTIC_TOY_REPLICA_H_

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/work.h"
#include "elastic/replica.h"
#include "elastic/step_loop.h"

namespace closeranks::elastic {

// In fast mode gradients are small whole numbers, so that their sum is exact in whatever order it
// is made: the weights are the same whatever became of the world on the way, if every sample
// counted once. In exact mode they are fractions whose sum depends on the order.
class ToyReplica : public Replica {
 public:
  // The weights start from `seed`; `logical_shards` 0 is fast mode.
  ToyReplica(uint64_t seed, int logical_shards);

  // Between BeginPart and EndPart: what the samples contribute. Returns their mean loss.
  double Compute(StepNumber step, std::span<const int64_t> samples);

  void BeginStep(StepNumber step) override;
  void BeginReduction(std::shared_ptr<Communicator> communicator,
                      std::vector<int> shard_owners) override;
  void BeginPart(StepNumber step, const Part& part, bool last) override;
  void EndPart() override;
  void StartReduction() override;
  Status FinishReduction() override;
  void Apply(StepNumber step) override;
  std::vector<Buffer> ReducedGradients(StepNumber step) override;
  std::vector<Piece> Pieces() override;
  Result<std::function<void()>> PrepareLoad(std::span<const Piece> pieces) override;
  uint64_t WeightsHash() const override;

  // WeightsHash as 16 hexadecimal digits.
  std::string Hash() const;
  // How many samples this replica computed, over all steps.
  int64_t computed() const { return computed_; }

 private:
  using Gradients = std::vector<float>;
  Gradients& Reduced(StepNumber step) { return reduced_[step % 2]; }

  int logical_shards_;
  std::vector<float> weights_;
  StepNumber step_ = 0;
  std::map<Part, Gradients> local_;
  Gradients* open_ = nullptr;
  Gradients sum_;                     // fast mode: of local_
  std::array<Gradients, 2> reduced_;  // of the newest two steps
  std::shared_ptr<Communicator> communicator_;
  std::vector<int> shard_owners_;
  std::vector<Work> works_;
  int64_t computed_ = 0;
};

// `epochs` passes over `samples`, in another order each.
class ToyBatches final : public BatchSource {
 public:
  ToyBatches(int samples, int batch, int epochs)
      : samples_(samples), batch_(batch), epochs_(epochs) {}

  Batch Get(StepNumber step) override;
  StepNumber steps() const override;

 private:
  int64_t samples_;
  int64_t batch_;
  int epochs_;
  std::vector<int64_t> ids_;
};

// Takes part in every step until the run's end: what a training program's main loop is.
Status RunToyTraining(StepLoop& loop, ToyReplica& replica);

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_TOY_REPLICA_H_
