#include "ddp/model_buffers.h"

#include <ATen/ATen.h>

#include <limits>

#include "gtest/gtest.h"

namespace closeranks::ddp {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class ModelBuffersTest : public testing::Test {
 protected:
  explicit ModelBuffersTest() { buffers_.carrier().mutable_grad() = sum_; }

  template <typename Pass>
  void Part(int samples, Pass pass) {
    buffers_.BeginPart();
    pass();
    buffers_.EndPart(samples);
  }

  at::Tensor mean_ = at::full({2}, 4.0f);
  at::Tensor count_ = at::full({}, 7, at::kLong);
  at::Tensor mask_ = at::tensor({-kInfinity, 0.1});
  at::Tensor flag_ = at::zeros({1}, at::kBool);
  ModelBuffers buffers_{{mean_, count_, mask_, flag_, mean_}};  // one is there twice
  at::Tensor sum_ = at::zeros_like(buffers_.carrier());
};

TEST_F(ModelBuffersTest, ChangeByTheMeanOverThePartsWeightedBySamples) {
  Part(1, [&] { mean_.add_(4), count_.add_(1); });
  Part(3, [&] { mean_.mul_(0.5), count_.add_(1); });
  EXPECT_TRUE(mean_.equal(at::full({2}, 4.0f))) << "a part's changes stay with the part";
  EXPECT_EQ(count_.item<int64_t>(), 7);
  buffers_.Apply();
  EXPECT_TRUE(mean_.equal(at::full({2}, 4 + (4.0f - 3 * 2) / 4))) << mean_;
  EXPECT_EQ(count_.item<int64_t>(), 8) << "every part counted the same one batch";
}

TEST_F(ModelBuffersTest, WhatNoPartChangesKeepsItsBits) {
  const at::Tensor before = mask_.clone();
  for (int samples : {1, 2, 7}) Part(samples, [&] { count_.add_(1); });
  buffers_.Apply();
  EXPECT_TRUE(mask_.equal(before)) << mask_;
  EXPECT_FALSE(flag_.item<bool>());
}

TEST_F(ModelBuffersTest, APartWithoutSamplesCountsForNothing) {
  Part(2, [&] { flag_.fill_(true), mask_.fill_(1); });
  Part(0, [] {});
  buffers_.Apply();
  EXPECT_TRUE(flag_.item<bool>());
  EXPECT_EQ(mask_[1].item<double>(), 1);
}

TEST(ModelBuffers, ComplexNumbersAreRefusedAndNoBuffersNeedNoCarrier) {
  EXPECT_THROW(ModelBuffers({at::zeros({2}, at::kComplexFloat)}), c10::Error);
  EXPECT_FALSE(ModelBuffers({}).carrier().defined());
}

}  // namespace
}  // namespace closeranks::ddp
