#include "ddp/sample_order.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::ddp {
namespace {

std::vector<int64_t> Epoch(SampleOrder& order, int64_t epoch) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < order.StepsPerEpoch(); ++i) {
    const auto batch = order.Batch((epoch - 1) * order.StepsPerEpoch() + i + 1);
    EXPECT_EQ(batch.epoch, epoch);
    ids.insert(ids.end(), batch.ids.begin(), batch.ids.end());
  }
  return ids;
}

bool IsPermutation(std::vector<int64_t> ids, int64_t samples) {
  std::sort(ids.begin(), ids.end());
  for (int64_t i = 0; i < samples; ++i) {
    if (i >= static_cast<int64_t>(ids.size()) || ids[i] != i) return false;
  }
  return static_cast<int64_t>(ids.size()) == samples;
}

TEST(SampleOrder, EveryEpochHasEverySampleExactlyOnce) {
  for (int64_t samples : {1, 2, 7, 100, 1000}) {
    for (int64_t batch : {1, 3, 7, 256}) {
      SampleOrder order(42, samples, batch);
      for (int64_t epoch = 1; epoch <= 3; ++epoch) {
        EXPECT_TRUE(IsPermutation(Epoch(order, epoch), samples)) << samples << " by " << batch;
      }
    }
  }
}

TEST(SampleOrder, OnlyTheLastBatchOfAnEpochIsSmaller) {
  SampleOrder order(1, 10, 4);
  ASSERT_EQ(order.StepsPerEpoch(), 3);
  EXPECT_EQ(order.Batch(1).ids.size(), 4u);
  EXPECT_EQ(order.Batch(2).ids.size(), 4u);
  EXPECT_EQ(order.Batch(3).ids.size(), 2u);
  EXPECT_EQ(order.Batch(4).ids.size(), 4u);
  EXPECT_EQ(order.Batch(4).epoch, 2);
}

TEST(SampleOrder, EpochsAndSeedsDiffer) {
  SampleOrder one(1, 1000, 64), two(2, 1000, 64);
  EXPECT_NE(Epoch(one, 1), Epoch(one, 2));
  EXPECT_NE(Epoch(one, 1), Epoch(two, 1));
  // Neighbours in seed and epoch aren't each other's streams.
  EXPECT_NE(Epoch(one, 2), Epoch(two, 1));
}

TEST(SampleOrder, ARankThatJoinsLateSeesTheSameOrder) {
  SampleOrder from_the_start(7, 1000, 64), late(7, 1000, 64);
  for (int64_t epoch = 1; epoch <= 4; ++epoch) Epoch(from_the_start, epoch);
  const auto expected = from_the_start.Batch(70);
  const auto actual = late.Batch(70);
  EXPECT_EQ(expected.epoch, actual.epoch);
  EXPECT_TRUE(std::ranges::equal(expected.ids, actual.ids));
  // Going back is allowed too.
  const std::vector<int64_t> first(late.Batch(1).ids.begin(), late.Batch(1).ids.end());
  EXPECT_TRUE(std::ranges::equal(first, from_the_start.Batch(1).ids));
}

// Pins the order itself: a checkpoint's ledger must mean the same samples after an upgrade.
TEST(SampleOrder, TheOrderIsPartOfTheFormat) {
  SampleOrder order(42, 10, 10);
  const auto batch = order.Batch(1);
  const std::vector<int64_t> ids(batch.ids.begin(), batch.ids.end());
  EXPECT_EQ(ids, (std::vector<int64_t>{6, 5, 1, 4, 7, 3, 2, 9, 8, 0}));
}

}  // namespace
}  // namespace closeranks::ddp
