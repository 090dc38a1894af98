// A model with BatchNorm and dropout, trained by several ranks of this process.
#include "closeranks/model_replica.h"

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "closeranks/error.h"
#include "ddp/in_process_ranks.h"
#include "elastic/parts.h"
#include "gtest/gtest.h"

namespace closeranks {
namespace {

using elastic::Part;
using elastic::Parts;

constexpr int kBatch = 22;  // not a multiple of the shards
constexpr int kShards = 6;
constexpr int kFeatures = 5;

struct Model : torch::nn::Module {
  Model() {
    register_module("hidden", hidden);
    register_module("norm", norm);
    register_module("dropout", dropout);
    register_module("output", output);
  }
  at::Tensor Loss(const at::Tensor& samples) {
    return output(dropout(norm(hidden(samples)).relu())).square().mean();
  }
  torch::nn::Linear hidden{kFeatures, 8};
  torch::nn::BatchNorm1d norm{8};
  torch::nn::Dropout dropout{0.5};
  torch::nn::Linear output{8, 1};
};

// A rank, which all begin with the same weights.
struct Rank {
  explicit Rank(int logical_shards) {
    torch::set_num_threads(1);
    torch::manual_seed(1);
    model = std::make_unique<Model>();
    optimizer = std::make_unique<torch::optim::Adam>(model->parameters(), 0.05);
    replica = std::make_unique<ModelReplica>(*model, *optimizer, /*seed=*/1, logical_shards);
  }
  void Compute(StepNumber step, const Parts& parts) {
    for (size_t i = 0; i < parts.size(); ++i) {
      const Part& part = parts[i];
      replica->PreparePart(step, part);
      // By position, as the ids of a batch are.
      torch::Generator data = at::detail::createCPUGenerator(step);
      at::Tensor batch = at::randn({kBatch, kFeatures}, data) * 3 + static_cast<double>(step);
      at::Tensor mean_loss = model->Loss(batch.narrow(0, part.begin, part.size()));
      replica->BeginPart(step, part, /*last=*/i + 1 == parts.size());
      (mean_loss * (static_cast<double>(part.size()) / kBatch)).backward();
      replica->EndPart();
    }
  }
  int64_t batches() const { return model->norm->num_batches_tracked.item<int64_t>(); }

  std::unique_ptr<Model> model;
  std::unique_ptr<torch::optim::Adam> optimizer;
  std::unique_ptr<ModelReplica> replica;
};

class World {
 public:
  World(int ranks, int logical_shards) : division_{kBatch, logical_shards} {
    for (int i = 0; i < ranks; ++i) ranks_.push_back(std::make_unique<Rank>(logical_shards));
  }
  Rank& rank(int index) { return *ranks_[static_cast<size_t>(index)]; }

  void Step() {
    Begin();
    held_ = DivideBatch(division_, static_cast<int>(ranks_.size()));
    BeginReduction();
    for (size_t i = 0; i < ranks_.size(); ++i) ranks_[i]->Compute(step_, held_[i]);
    Reduce();
  }
  // The last rank is lost before it has computed its parts; the others compute them as well.
  void StepThatLosesARank() {
    Begin();
    held_ = DivideBatch(division_, static_cast<int>(ranks_.size()));
    BeginReduction();
    for (size_t i = 0; i + 1 < ranks_.size(); ++i) ranks_[i]->Compute(step_, held_[i]);
    for (size_t i = 0; i + 1 < ranks_.size(); ++i) ranks_[i]->replica->StartReduction();
    world_->communicators().back()->Abort(PeerLost("the last rank is gone"));
    for (size_t i = 0; i + 1 < ranks_.size(); ++i) {
      EXPECT_FALSE(ranks_[i]->replica->FinishReduction().ok());
    }
    ranks_.pop_back();
    held_.pop_back();
    auto missing = elastic::DivideMissing(division_, held_);
    ASSERT_TRUE(missing.ok()) << missing.status();
    for (size_t i = 0; i < held_.size(); ++i) {
      held_[i].insert(held_[i].end(), (*missing)[i].begin(), (*missing)[i].end());
    }
    BeginReduction();
    for (size_t i = 0; i < ranks_.size(); ++i) ranks_[i]->Compute(step_, (*missing)[i]);
    Reduce();
  }
  // What all ranks have come to.
  std::string Weights() {
    for (auto& rank : ranks_) {
      EXPECT_EQ(rank->replica->WeightsSha256(), ranks_[0]->replica->WeightsSha256());
    }
    return ranks_[0]->replica->WeightsSha256();
  }

 private:
  void Begin() {
    ++step_;
    for (auto& rank : ranks_) rank->replica->BeginStep(step_);
  }
  void BeginReduction() {
    world_ = std::make_unique<ddp::InProcessRanks>(static_cast<int>(ranks_.size()));
    for (size_t i = 0; i < ranks_.size(); ++i) {
      ranks_[i]->replica->BeginReduction(world_->communicators()[i],
                                         elastic::ShardOwners(division_, held_));
    }
  }
  void Reduce() {
    for (auto& rank : ranks_) rank->replica->StartReduction();
    for (auto& rank : ranks_) {
      Status reduced = rank->replica->FinishReduction();
      ASSERT_TRUE(reduced.ok()) << reduced;
      rank->replica->Apply(step_);
    }
  }

  elastic::Division division_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<Parts> held_;
  std::unique_ptr<ddp::InProcessRanks> world_;
  StepNumber step_ = 0;
};

std::string TrainExactly(int ranks, int losing_step = 0) {
  World world(ranks, kShards);
  for (int step = 1; step <= 5; ++step) {
    step == losing_step ? world.StepThatLosesARank() : world.Step();
  }
  EXPECT_EQ(world.rank(0).batches(), 5);
  return world.Weights();
}

TEST(ModelReplica, ExactModeHasTheSameWeightsAndBuffersWhateverTheRanks) {
  const std::string alone = TrainExactly(1);
  EXPECT_EQ(TrainExactly(2), alone);
  EXPECT_EQ(TrainExactly(3), alone);
  EXPECT_EQ(TrainExactly(4), alone);
}

TEST(ModelReplica, ExactModeHasTheSameWeightsAndBuffersWhateverWasLost) {
  const std::string alone = TrainExactly(1);
  for (int ranks : {2, 3, 4}) {
    for (int step : {1, 3, 5}) {
      EXPECT_EQ(TrainExactly(ranks, step), alone) << ranks << " ranks, loss in step " << step;
    }
  }
}

TEST(ModelReplica, FastModeHasTheSameBuffersOnEveryRank) {
  World world(3, 0);
  world.Step();
  world.StepThatLosesARank();
  world.Weights();
  EXPECT_EQ(world.rank(1).batches(), 2);
}

// Whoever is behind gets them with the reduced gradients.
TEST(ModelReplica, ReducedGradientsBringTheBuffersAlong) {
  World world(2, kShards);
  world.Step();
  Rank behind(kShards);
  behind.replica->BeginStep(1);
  behind.Compute(1, {{0, 0, 4}});  // its own share of the torn step leaves no trace
  std::vector<elastic::Buffer> from = world.rank(0).replica->ReducedGradients(1);
  std::vector<elastic::Buffer> to = behind.replica->ReducedGradients(1);
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < from.size(); ++i) {
    ASSERT_EQ(from[i].count, to[i].count);
    std::memcpy(to[i].data, from[i].data, from[i].count * SizeOf(from[i].type));
  }
  behind.replica->Apply(1);
  EXPECT_EQ(behind.replica->WeightsSha256(), world.Weights());
}

TEST(ModelReplica, BuffersArePartOfItsState) {
  World world(1, kShards);
  world.Step();
  Rank joiner(kShards);
  std::vector<elastic::Piece> pieces = world.rank(0).replica->Pieces();
  auto load = joiner.replica->PrepareLoad(pieces);
  ASSERT_TRUE(load.ok()) << load.status();
  (*load)();
  EXPECT_EQ(joiner.replica->WeightsSha256(), world.Weights());
  EXPECT_EQ(joiner.batches(), 1);
}

TEST(ModelReplica, ARowOfBytesOfAnotherLengthIsRefused) {
  auto replica_with = [](int64_t bytes, torch::nn::Linear& model, torch::optim::SGD& optimizer) {
    model->register_buffer("table", torch::zeros({bytes}, torch::kByte));
    return std::make_unique<ModelReplica>(*model, optimizer, /*seed=*/1, /*logical_shards=*/0);
  };
  torch::nn::Linear one(2, 2), other(2, 2);
  torch::optim::SGD updates_one(one->parameters(), 0.1), updates_other(other->parameters(), 0.1);
  auto shorter = replica_with(100, one, updates_one);
  auto longer = replica_with(1000, other, updates_other);
  for (auto [from, to] : {std::pair(&shorter, &longer), std::pair(&longer, &shorter)}) {
    const std::vector<elastic::Piece> pieces = (*from)->Pieces();
    auto load = (*to)->PrepareLoad(pieces);
    EXPECT_EQ(load.status().code(), StatusCode::kMismatch);
    EXPECT_NE(load.status().message().find("U8 [1000]"), std::string::npos) << load.status();
  }
}

TEST(ModelReplica, WhatChangesWithTheUpdatesDoesSoInEachHoweverItComesAbout) {
  World world(2, kShards);
  Rank behind(kShards);
  std::vector<StepNumber> updates, updates_behind;
  world.rank(0).replica->SetOnUpdate([&](StepNumber step) { updates.push_back(step); });
  behind.replica->SetOnUpdate([&](StepNumber step) { updates_behind.push_back(step); });
  world.Step();
  world.Step();
  EXPECT_EQ(updates, (std::vector<StepNumber>{1, 2}));
  behind.replica->BeginStep(1);
  behind.replica->Apply(1);
  EXPECT_EQ(updates_behind, (std::vector<StepNumber>{1})) << "made up for";
}

TEST(ModelReplica, OtherBuffersAreAnotherFingerprintAndAnotherHash) {
  Rank rank(kShards), other(kShards);
  other.model->norm->running_mean.add_(1);
  EXPECT_NE(rank.replica->WeightsSha256(), other.replica->WeightsSha256());
  torch::nn::BatchNorm1d with(8),
      without(torch::nn::BatchNormOptions(8).track_running_stats(false));
  torch::optim::Adam one(with->parameters()), two(without->parameters());
  EXPECT_NE(ModelReplica(*with, one, 1, 0).Fingerprint(),
            ModelReplica(*without, two, 1, 0).Fingerprint());
}

}  // namespace
}  // namespace closeranks
