// Elastic data-parallel training: the training step as a function of a part of the batch, so that
// the runtime may call for that part again on another rank.
//
//   closeranks::Training training(job, *model, optimizer);
//   for (closeranks::Step& step : training.Steps({.samples = 60000, .batch = 256, .epochs = 3})) {
//     for (closeranks::Shard& shard : step) {
//       shard.Backward(MeanLoss(*model, data.Get(shard.samples())));
//     }
//     step.Commit();
//   }
//
// When a rank is lost in the middle of a step, Commit on the survivors leaves the step unapplied
// and the loop hands out the same step again with only those shards that are still missing.
// Everything throws closeranks::Error.
#ifndef CLOSERANKS_CLOSERANKS_TRAINING_H_
#define CLOSERANKS_CLOSERANKS_TRAINING_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/member.h"

namespace at {
class Tensor;
}
namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace closeranks {

namespace elastic {
class StateOwner;
}

class Job;
class Training;

// A part of a step's global batch that this rank computes. Valid until the next Commit.
class Shard {
 public:
  // The ids of its samples, each from 0 to Plan::samples - 1.
  std::span<const int64_t> samples() const;
  // Computes the gradients. `mean_loss` (one element) is the mean over samples(); once for each
  // shard.
  void Backward(const at::Tensor& mean_loss);

 private:
  friend class Step;
  Training* training_ = nullptr;
  size_t index_ = 0;
};

// One optimizer update, or what this rank has to do for it.
class Step {
 public:
  // Over this rank's shards. Each must have had its Backward before the next is taken.
  class Iterator {
   public:
    Shard& operator*() const { return step_->shard_; }
    Iterator& operator++();
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    friend class Step;
    Iterator(Step* step, size_t index) : step_(step), index_(index) {}
    Step* step_;
    size_t index_;
  };
  Iterator begin();
  Iterator end();

  // Of the whole run, from 1.
  StepNumber number() const;
  // From 1.
  int epoch() const;
  // Samples of the global batch.
  int batch() const;
  // Reduces the gradients over all ranks and applies them, everywhere or nowhere. Blocks. False
  // where the world changed meanwhile and the step comes again with what is missing of it.
  bool Commit();

 private:
  friend class Training;
  friend class StepRange;
  explicit Step(Training* training) : training_(training) {}
  void Present(size_t index);
  // A batch with fewer samples than there are logical shards leaves some shards without any: the
  // program doesn't get to see those. Returns the index of the next that has some, from `index` on.
  size_t SkipEmpty(size_t index);

  Training* training_;
  Shard shard_;
};

// What a run consists of. Every rank gives the same.
struct Plan {
  int64_t samples = 0;  // in an epoch
  int batch = 0;        // in a step, over all ranks
  int epochs = 1;
};

// The steps that are still to do, from wherever this rank enters the run.
class StepRange {
 public:
  class Iterator {
   public:
    Step& operator*() const;
    Iterator& operator++();
    bool operator!=(const Iterator& other) const { return at_end_ != other.at_end_; }

   private:
    friend class StepRange;
    Training* training_ = nullptr;
    bool at_end_ = true;
  };
  Iterator begin();
  Iterator end() { return {}; }

 private:
  friend class Training;
  explicit StepRange(Training* training) : training_(training) {}
  Training* training_;
};

class Training {
 public:
  // `model` and `optimizer` (over the model's parameters) must be the same on every rank and
  // outlive this; their values are taken from the lowest rank. One Training for each Job.
  Training(Job& job, torch::nn::Module& model, torch::optim::Optimizer& optimizer);
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  // State of the program's own (a schedule, a scaler, what a sampler remembers) that moves with the
  // model: to who joins, and into checkpoints. Under a name of its own, before Steps, on every
  // rank; `owner` outlives this.
  void Register(std::string_view name, elastic::StateOwner& owner);

  // `on_update` is called on every rank right after each of the optimizer's updates and as a part
  // of it, with the step's number: once for each step, also where a rank makes up for one that it
  // missed, or repeats one on a state that it received. So this is the place for what changes with
  // the steps, such as a learning rate or an average of the weights. It changes nothing but by the
  // step's number and what moves with the run: the model, the optimizer, what is registered. It
  // doesn't throw. Before Steps.
  void OnUpdate(std::function<void(StepNumber step)> on_update);

  // The loop ends when every step is applied on every rank. Once for each Training.
  StepRange Steps(Plan plan);

 private:
  friend class Shard;
  friend class Step;
  friend class StepRange;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_TRAINING_H_
