// A libtorch model and optimizer as the elastic step sees them.
#ifndef CLOSERANKS_CLOSERANKS_MODEL_REPLICA_H_
#define CLOSERANKS_CLOSERANKS_MODEL_REPLICA_H_

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "closeranks/optimizer_state.h"
#include "closeranks/tensor_state.h"
#include "ddp/model_buffers.h"
#include "ddp/reducer.h"
#include "elastic/replica.h"
#include "elastic/state.h"

namespace closeranks {

// Used by the training thread only. `model` and `optimizer` outlive it.
class ModelReplica final : public elastic::Replica {
 public:
  // Throws Error (kInvalidArgument) for parameters and buffers that can't be kept equal.
  ModelReplica(torch::nn::Module& model, torch::optim::Optimizer& optimizer, uint64_t seed,
               int logical_shards);

  void BeginStep(StepNumber step) override;
  void BeginReduction(std::shared_ptr<Communicator> communicator,
                      std::vector<int> shard_owners) override;
  // Seeds libtorch's generator from (seed, step, part), so that dropout draws the same wherever the
  // part is computed; the buffers have their values at the step's begin (see ddp/model_buffers.h).
  void PreparePart(StepNumber step, const elastic::Part& part) override;
  void BeginPart(StepNumber step, const elastic::Part& part, bool last) override;
  void EndPart() override;
  void StartReduction() override;
  Status FinishReduction() override;
  void Apply(StepNumber step) override;
  std::vector<elastic::Buffer> ReducedGradients(StepNumber step) override;
  // "model." and the name of each parameter and buffer, and "optimizer." and what the optimizer
  // keeps.
  std::vector<elastic::Piece> Pieces() override { return state_.Pieces(); }
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override {
    return state_.PrepareLoad(pieces);
  }
  uint64_t SettingsHash() const override;
  // Is called with each update, right after it.
  void SetOnUpdate(std::function<void(StepNumber)> on_update) { on_update_ = std::move(on_update); }

  // The first 16 digits of WeightsSha256.
  uint64_t WeightsHash() const override;

  // Of the parameters and buffers in order of their names, in hexadecimal.
  std::string WeightsSha256() const;
  // Equal where the parameters and buffers are laid out alike.
  std::string Fingerprint() const { return std::to_string(reducer_.fingerprint()); }

 private:
  torch::optim::Optimizer& optimizer_;
  uint64_t seed_;
  // By name.
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  std::vector<std::pair<std::string, at::Tensor>> trained_;  // and the buffers
  TensorState model_state_;
  OptimizerState optimizer_state_;
  elastic::RunState state_;  // of both
  ddp::ModelBuffers buffers_;
  int part_samples_ = 0;
  ddp::Reducer reducer_;
  std::function<void(StepNumber)> on_update_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_MODEL_REPLICA_H_
