#include "ddp/bucket.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::ddp {
namespace {

at::Tensor Floats(int64_t count) { return at::zeros({count}, at::kFloat); }

std::vector<std::vector<size_t>> ParametersOf(const std::vector<BucketLayout>& buckets) {
  std::vector<std::vector<size_t>> parameters;
  for (const BucketLayout& bucket : buckets) parameters.push_back(bucket.parameters);
  return parameters;
}

TEST(PlanBuckets, TakesParametersInReverseAndClosesABucketWhenItIsFull) {
  const std::vector<at::Tensor> parameters = {Floats(4), Floats(100), Floats(3),
                                              Floats(4), Floats(1),   Floats(9)};
  const auto buckets = PlanBuckets(parameters, /*first_bucket_bytes=*/16, /*bucket_bytes=*/32);
  EXPECT_EQ(ParametersOf(buckets), (std::vector<std::vector<size_t>>{{5}, {4, 3, 2}, {1}, {0}}));
  EXPECT_EQ(buckets[1].offsets, (std::vector<int64_t>{0, 1, 5}));
  EXPECT_EQ(buckets[1].elements, 8);
}

TEST(PlanBuckets, ABucketHoldsOneTypeAndBucketsComeAsBackwardCompletesThem) {
  const std::vector<at::Tensor> parameters = {Floats(2), at::zeros({2}, at::kDouble), Floats(2),
                                              at::zeros({2}, at::kDouble), Floats(2)};
  const auto buckets = PlanBuckets(parameters, 16, 16);
  EXPECT_EQ(ParametersOf(buckets), (std::vector<std::vector<size_t>>{{3}, {4, 2}, {1}, {0}}));
  EXPECT_EQ(buckets[0].type, at::kDouble);
}

TEST(PlanBuckets, RefusesATypeThatCannotBeReduced) {
  EXPECT_THROW(PlanBuckets(std::vector<at::Tensor>{at::zeros({2}, at::kHalf)}, 16, 16), c10::Error);
}

Bucket OneParameterBucket(const at::Tensor& parameter, int logical_shards) {
  const std::vector<at::Tensor> parameters = {parameter};
  return Bucket(PlanBuckets(parameters, 1, 1).front(), parameters, logical_shards);
}

void Collect(Bucket& bucket, const at::Tensor& parameter, int shard, const at::Tensor& gradient) {
  bucket.Open(shard);
  parameter.mutable_grad().add_(gradient);
  bucket.Keep(0);
  bucket.Close();
}

TEST(Bucket, FastModeAddsPartsUp) {
  const at::Tensor parameter = Floats(3);
  Bucket bucket = OneParameterBucket(parameter, 0);
  for (int part = 1; part <= 3; ++part) {
    Collect(bucket, parameter, part, at::full({3}, static_cast<double>(part), at::kFloat));
  }
  EXPECT_EQ(static_cast<const float*>(bucket.sum())[2], 6.0f);
  bucket.Forget();
  EXPECT_EQ(static_cast<const float*>(bucket.sum())[2], 0.0f);
}

TEST(Bucket, AGradientSurvivesThatSomebodyClearsOrReplacesGrad) {
  const at::Tensor parameter = Floats(3);
  Bucket bucket = OneParameterBucket(parameter, 0);
  Collect(bucket, parameter, 0, at::full({3}, 1.0, at::kFloat));
  bucket.Open(1);
  const at::NoGradGuard as_in_backward;
  parameter.mutable_grad() = at::full({3}, 2.0, at::kFloat);  // zero_grad(), then a new gradient
  bucket.Keep(0);
  EXPECT_EQ(parameter.grad().const_data_ptr(), bucket.sum());
  bucket.Close();
  EXPECT_EQ(static_cast<const float*>(bucket.sum())[0], 3.0f);
}

TEST(Bucket, ViewsLieAsTheirParametersDo) {
  const at::Tensor parameter = at::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  Bucket bucket = OneParameterBucket(parameter, 0);
  bucket.Open(0);
  EXPECT_EQ(parameter.grad().strides(), parameter.strides());
}

// All orders of the shards of several trees lead to the same bits, in as few nodes as there can be.
TEST(Bucket, ExactModeSumsInOneTreeWhateverTheOrder) {
  for (int shards : {1, 2, 3, 5, 8, 12}) {
    std::vector<at::Tensor> gradients;
    for (int i = 0; i < shards; ++i) gradients.push_back(at::randn({17}));
    at::Tensor first_sum;
    for (int stride = 1; stride < 2 * shards; ++stride) {
      if (std::gcd(stride, shards) != 1) continue;
      const at::Tensor parameter = Floats(17);
      Bucket bucket = OneParameterBucket(parameter, shards);
      for (int i = 0; i < shards; ++i) {
        const int shard = i * stride % shards;
        Collect(bucket, parameter, shard, gradients[shard]);
      }
      const std::vector<ShardContribution> nodes = bucket.Nodes();
      ASSERT_EQ(nodes.size(), 1u);
      EXPECT_EQ(nodes[0].run, (ShardRun{0, shards}));
      const at::Tensor sum =
          at::from_blob(const_cast<void*>(nodes[0].data), {17}, at::kFloat).clone();
      if (!first_sum.defined()) first_sum = sum;
      EXPECT_TRUE(at::equal(sum, first_sum)) << shards << " shards by " << stride;
    }
  }
}

TEST(Bucket, ShardsWithoutTheirSiblingsStayApart) {
  const at::Tensor parameter = Floats(1);
  Bucket bucket = OneParameterBucket(parameter, 8);
  for (int shard : {5, 1, 2, 4, 3}) Collect(bucket, parameter, shard, Floats(1));
  std::vector<ShardRun> runs;
  for (const ShardContribution& node : bucket.Nodes()) runs.push_back(node.run);
  EXPECT_EQ(runs, (std::vector<ShardRun>{{1, 2}, {2, 4}, {4, 6}}));
  EXPECT_THROW(bucket.Open(3), c10::Error);
}

}  // namespace
}  // namespace closeranks::ddp
