#include "ddp/reducer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ddp/in_process_ranks.h"
#include "gtest/gtest.h"

namespace closeranks::ddp {
namespace {

constexpr int kBatch = 24, kInputs = 5, kHidden = 7, kOutputs = 3;
constexpr int kShards = 12;
// So small that every parameter has a bucket of its own, or nearly.
constexpr Reducer::Options kFast = {.first_bucket_bytes = 16, .bucket_bytes = 64};
constexpr Reducer::Options kExact = {
    .first_bucket_bytes = 16, .bucket_bytes = 64, .logical_shards = kShards};

// Two layers, and a parameter that only some samples use.
struct Model {
  Model()
      : parameters{at::randn({kHidden, kInputs}), at::randn({kHidden}),
                   at::randn({kOutputs, kHidden}), at::randn({kOutputs}), at::randn({kOutputs})} {
    for (at::Tensor& parameter : parameters) parameter.requires_grad_();
  }
  // The same values in memory of its own, as another rank has them.
  Model Clone() const {
    Model copy;
    for (size_t i = 0; i < parameters.size(); ++i) {
      copy.parameters[i] = parameters[i].detach().clone().requires_grad_();
    }
    return copy;
  }
  at::Tensor Hidden(const at::Tensor& x) const {
    return at::linear(x, parameters[0], parameters[1]).tanh();
  }
  // The sum over the samples, so that the sums of parts add up to that of the batch.
  at::Tensor Loss(const at::Tensor& hidden, bool with_extra) const {
    at::Tensor y = at::linear(hidden, parameters[2], parameters[3]);
    if (with_extra) y = y.mul(parameters[4]);
    return y.pow(2).sum();
  }
  std::vector<at::Tensor> Gradients() const {
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : parameters) {
      gradients.push_back(parameter.grad().defined() ? parameter.grad().clone()
                                                     : at::zeros_like(parameter));
    }
    return gradients;
  }

  std::vector<at::Tensor> parameters;
};

class ReducerTest : public testing::Test {
 protected:
  // Two samples each; the extra parameter is used by every third.
  static bool UsesExtra(int shard) { return shard % 3 == 0; }
  at::Tensor Samples(int shard) const { return data_.narrow(0, 2 * shard, 2); }

  void Pass(const Model& model, int shard) const {
    model.Loss(model.Hidden(Samples(shard)), UsesExtra(shard)).backward();
  }
  void Part(Reducer& reducer, const Model& model, int shard, bool last) const {
    reducer.BeginPart(shard, last);
    Pass(model, shard);
    reducer.EndPart();
  }
  void Parts(Reducer& reducer, const Model& model, const std::vector<int>& shards) const {
    for (int shard : shards) Part(reducer, model, shard, shard == shards.back());
  }

  // One step on as many ranks as there are lists of shards: what every rank has at the end. Expects
  // that all have the same.
  std::vector<at::Tensor> Step(const std::vector<std::vector<int>>& shards_of_rank,
                               Reducer::Options options) const {
    const int size = static_cast<int>(shards_of_rank.size());
    const std::vector<int> owners = OwnersOf(shards_of_rank);
    std::vector<std::vector<at::Tensor>> results(size);
    RunRanks(InProcessRanks(size), [&](std::shared_ptr<Communicator> communicator) {
      const int rank = communicator->rank();
      const Model model = model_.Clone();
      Reducer reducer(model.parameters, options);
      reducer.BeginStep(1);
      reducer.BeginReduction(communicator, owners);
      Parts(reducer, model, shards_of_rank[rank]);
      const Status status = reducer.Finish();
      EXPECT_TRUE(status.ok()) << "rank " << rank << ": " << status;
      results[rank] = model.Gradients();
    });
    for (int rank = 1; rank < size; ++rank) ExpectSameBits(results[0], results[rank]);
    return results[0];
  }

  static std::vector<int> OwnersOf(const std::vector<std::vector<int>>& shards_of_rank) {
    std::vector<int> owners(kShards, -1);
    for (size_t rank = 0; rank < shards_of_rank.size(); ++rank) {
      for (int shard : shards_of_rank[rank]) owners[shard] = static_cast<int>(rank);
    }
    return owners;
  }

  static void RunRanks(const InProcessRanks& ranks,
                       const std::function<void(std::shared_ptr<Communicator>)>& rank) {
    std::vector<std::thread> threads;
    for (const auto& communicator : ranks.communicators()) threads.emplace_back(rank, communicator);
    for (std::thread& thread : threads) thread.join();
  }

  // What a single process computes over the whole batch, without a reducer.
  std::vector<at::Tensor> WholeBatch() const {
    const Model model = model_.Clone();
    for (int shard = 0; shard < kShards; ++shard) Pass(model, shard);
    return model.Gradients();
  }

  static void ExpectSameBits(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i], b[i])) << "parameter " << i;
  }
  static void ExpectClose(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(a[i].allclose(b[i], 1e-4, 1e-4)) << "parameter " << i << "\n" << a[i] << b[i];
    }
  }

  const Model model_;
  const at::Tensor data_ = at::randn({kBatch, kInputs});
};

const std::vector<std::vector<std::vector<int>>> kWorlds = {
    {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
    {{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 11}},
    {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}},
    {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}},
    {{11, 3, 7, 0}, {}, {10, 1, 5, 6}, {9, 2, 8, 4}},  // in disorder, and one rank without any
};

TEST_F(ReducerTest, FastModeGivesTheGradientsOfTheWholeBatch) {
  for (const auto& world : kWorlds) ExpectClose(Step(world, kFast), WholeBatch());
}

TEST_F(ReducerTest, ExactModeGivesTheSameBitsOnOneToFourRanks) {
  const std::vector<at::Tensor> alone = Step(kWorlds[0], kExact);
  ExpectClose(alone, WholeBatch());
  for (const auto& world : kWorlds) ExpectSameBits(Step(world, kExact), alone);
  // Nor do the buckets matter.
  ExpectSameBits(Step(kWorlds[4], {.logical_shards = kShards}), alone);
}

TEST_F(ReducerTest, AParameterThatNoPassReachesHasAZeroGradient) {
  Reducer reducer(model_.parameters, kFast);
  reducer.BeginStep(1);
  reducer.BeginReduction(InProcessRanks(1).communicators()[0]);
  Part(reducer, model_, 1, true);  // doesn't use the extra one
  ASSERT_TRUE(reducer.Finish().ok());
  EXPECT_TRUE(at::equal(model_.parameters[4].grad(), at::zeros_like(model_.parameters[4])));
}

TEST_F(ReducerTest, SeveralPassesInAPartAddUp) {
  for (const bool announce : {false, true}) {
    const Model model = model_.Clone();
    Reducer reducer(model.parameters, kFast);
    reducer.BeginStep(1);
    reducer.BeginReduction(InProcessRanks(1).communicators()[0]);
    reducer.BeginPart(0, /*last=*/false);
    for (int shard = 0; shard < kShards; ++shard) {
      if (announce && shard == kShards - 1) reducer.ExpectLastPass();
      Pass(model, shard);
    }
    reducer.EndPart();
    ASSERT_TRUE(reducer.Finish().ok());
    ExpectClose(model.Gradients(), WholeBatch());
  }
}

TEST_F(ReducerTest, APassAfterTheLastOneIsAnErrorAndCorruptsNothing) {
  Reducer reducer(model_.parameters, kFast);
  reducer.BeginStep(1);
  reducer.BeginReduction(InProcessRanks(1).communicators()[0]);
  reducer.BeginPart(0, /*last=*/true);
  Pass(model_, 0);
  const std::byte before = reducer.Reduced(1, 0)[0];
  Pass(model_, 0);
  EXPECT_EQ(reducer.Reduced(1, 0)[0], before);
  reducer.EndPart();
  const Status status = reducer.Finish();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("of shape [3]"), std::string::npos) << status;
}

TEST_F(ReducerTest, ClearingGradBetweenPassesLosesNothing) {
  const Model model = model_.Clone();
  Reducer reducer(model.parameters, kExact);
  reducer.BeginStep(1);
  reducer.BeginReduction(InProcessRanks(1).communicators()[0], std::vector<int>(kShards, 0));
  for (int shard = 0; shard < kShards; ++shard) {
    reducer.BeginPart(shard, false);
    for (const at::Tensor& parameter : model.parameters) parameter.mutable_grad() = at::Tensor();
    Pass(model, shard);
    reducer.EndPart();
  }
  ASSERT_TRUE(reducer.Finish().ok());
  ExpectSameBits(model.Gradients(), Step(kWorlds[0], kExact));
}

// Runs `then` in the middle of a backward pass: when autograd has come to the hidden layer.
void PassWith(const Model& model, const at::Tensor& samples, bool with_extra,
              const std::function<void()>& then) {
  const at::Tensor hidden = model.Hidden(samples);
  hidden.register_hook([then](const at::Tensor& gradient) {
    then();
    return gradient;
  });
  model.Loss(hidden, with_extra).backward();
}

TEST_F(ReducerTest, ReductionBeginsWhileBackwardStillRuns) {
  InProcessRanks ranks(1);
  Reducer reducer(model_.parameters, kFast);
  reducer.BeginStep(1);
  reducer.BeginReduction(ranks.communicators()[0]);
  reducer.BeginPart(0, /*last=*/true);
  int begun_in_the_middle = 0;
  PassWith(model_, Samples(0), true, [&] { begun_in_the_middle = ranks.operations_begun(); });
  EXPECT_EQ(reducer.bucket_count(), 3);
  EXPECT_EQ(begun_in_the_middle, 2);  // all but the first layer's
  EXPECT_EQ(ranks.operations_begun(), 3);
  reducer.EndPart();
  EXPECT_TRUE(reducer.Finish().ok());
}

// Four ranks; rank 2 is lost in the middle of the others' last pass. The survivors compute its
// shards too, and have the bits of an undisturbed run.
TEST_F(ReducerTest, AbortInTheMiddleOfBackwardThenRedoWithoutTheLostRank) {
  for (const Reducer::Options& options : {kFast, kExact}) {
    const std::vector<std::vector<int>> before = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
    const std::vector<std::vector<int>> more = {{6}, {7}, {8}};  // for ranks 0, 1 and 3
    const std::vector<std::vector<int>> after = {{0, 1, 2, 6}, {3, 4, 5, 7}, {8, 9, 10, 11}};
    const std::vector<at::Tensor> expected = Step(before, options);
    const InProcessRanks four(4), three(3);
    std::vector<std::vector<at::Tensor>> results(3);
    RunRanks(four, [&](std::shared_ptr<Communicator> communicator) {
      const int rank = communicator->rank();
      if (rank == 2) return;
      const Model model = model_.Clone();
      Reducer reducer(model.parameters, options);
      reducer.BeginStep(1);
      reducer.BeginReduction(communicator, OwnersOf(before));
      for (int shard : before[rank]) {
        const bool last = shard == before[rank].back();
        reducer.BeginPart(shard, last);
        PassWith(model, Samples(shard), UsesExtra(shard), [&] {
          if (last) communicator->Abort(PeerLost("rank 2 is lost"));
        });
        reducer.EndPart();
      }
      EXPECT_EQ(reducer.Finish().code(), StatusCode::kPeerLost);

      const int new_rank = rank < 2 ? rank : 2;
      reducer.BeginReduction(three.communicators()[new_rank], OwnersOf(after));
      Parts(reducer, model, more[new_rank]);
      const Status status = reducer.Finish();
      EXPECT_TRUE(status.ok()) << status;
      results[new_rank] = model.Gradients();
    });
    for (const auto& result : results) {
      options.logical_shards > 0 ? ExpectSameBits(result, expected) : ExpectClose(result, expected);
    }
  }
}

TEST_F(ReducerTest, AShardThatIsOwnedButNotComputedIsNamed) {
  Reducer reducer(model_.parameters, kExact);
  reducer.BeginStep(7);
  reducer.BeginReduction(InProcessRanks(1).communicators()[0], std::vector<int>(kShards, 0));
  for (int shard : {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11}) Part(reducer, model_, shard, shard == 11);
  const Status status = reducer.Finish();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("step 7: shard 5"), std::string::npos) << status;
  // It isn't lost: the step can go on with the shard.
  reducer.BeginReduction(InProcessRanks(1).communicators()[0], std::vector<int>(kShards, 0));
  Part(reducer, model_, 5, true);
  EXPECT_TRUE(reducer.Finish().ok());
  ExpectSameBits(model_.Gradients(), Step(kWorlds[0], kExact));
}

TEST_F(ReducerTest, ThePreviousStepsReducedGradientsStayForARankThatIsBehind) {
  const Model model = model_.Clone();
  Reducer ahead(model.parameters, kFast);
  std::vector<at::Tensor> first;
  for (StepNumber step : {1, 2}) {
    ahead.BeginStep(step);
    ahead.BeginReduction(InProcessRanks(1).communicators()[0]);
    Part(ahead, model, static_cast<int>(step), true);
    ASSERT_TRUE(ahead.Finish().ok());
    if (step == 1) first = model.Gradients();
  }
  EXPECT_TRUE(ahead.HoldsReduced(1) && ahead.HoldsReduced(2));

  const Model late = model_.Clone();
  Reducer behind(late.parameters, kFast);
  EXPECT_EQ(behind.fingerprint(), ahead.fingerprint());
  for (int bucket = 0; bucket < ahead.bucket_count(); ++bucket) {
    std::ranges::copy(ahead.Reduced(1, bucket), behind.Reduced(1, bucket).begin());
  }
  behind.AdoptReduced(1);
  ExpectSameBits(late.Gradients(), first);

  ahead.BeginStep(3);
  EXPECT_TRUE(ahead.HoldsReduced(1));
  ahead.BeginReduction(InProcessRanks(1).communicators()[0]);
  EXPECT_FALSE(ahead.HoldsReduced(1));
  EXPECT_TRUE(ahead.HoldsReduced(2));
}

TEST_F(ReducerTest, OtherLayoutsHaveOtherFingerprints) {
  const Reducer one(model_.parameters, kFast);
  EXPECT_NE(one.fingerprint(), Reducer(model_.parameters, Reducer::Options()).fingerprint());
  Model fewer = model_.Clone();
  fewer.parameters.pop_back();
  EXPECT_NE(one.fingerprint(), Reducer(fewer.parameters, kFast).fingerprint());
}

TEST_F(ReducerTest, PassesOutsideOfAPartAreTheCallersOwn) {
  {
    Reducer reducer(model_.parameters, kFast);
    reducer.BeginStep(1);
    Pass(model_, 0);
  }
  Pass(model_, 0);  // and the hooks are gone with the reducer
  EXPECT_TRUE(model_.parameters[0].grad().defined());
}

}  // namespace
}  // namespace closeranks::ddp
