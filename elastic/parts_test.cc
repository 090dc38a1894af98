#include "elastic/parts.h"

#include <algorithm>

#include "base/random.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

// How often each position of the batch is computed.
std::vector<int> Coverage(int batch, std::span<const Parts> parts) {
  std::vector<int> times(batch, 0);
  for (const Parts& of_rank : parts) {
    for (const Part& part : of_rank) {
      for (int i = part.begin; i < part.end; ++i) ++times[i];
    }
  }
  return times;
}

TEST(Parts, EverySampleIsDealtOnceWhateverTheWorld) {
  for (int shards : {0, 1, 5, 12}) {
    for (int batch : {1, 3, 12, 96, 256}) {
      for (int ranks = 1; ranks <= 14; ++ranks) {
        auto times = Coverage(batch, DivideBatch({batch, shards}, ranks));
        EXPECT_TRUE(std::all_of(times.begin(), times.end(), [](int t) { return t == 1; }))
            << shards << " shards, batch " << batch << ", ranks " << ranks;
      }
    }
  }
}

TEST(Parts, AfterALossOnlyTheMissingPartIsDealtAndEvenly) {
  SeededRandom random(1);
  for (int trial = 0; trial < 500; ++trial) {
    int shards = random.OneIn(2) ? 0 : 12;
    int batch = 1 + static_cast<int>(random.Below(256));
    int ranks = 2 + static_cast<int>(random.Below(6));
    std::vector<Parts> held = DivideBatch({batch, shards}, ranks);
    for (uint64_t lost = 1 + random.Below(held.size() - 1); lost > 0; --lost) {
      held.erase(held.begin() + static_cast<int>(random.Below(held.size())));
    }
    if (random.OneIn(3)) held.push_back({});  // a joiner
    auto missing = DivideMissing({batch, shards}, held);
    ASSERT_TRUE(missing.ok());
    std::vector<Parts> after;
    int most = 0, least = batch;
    for (size_t rank = 0; rank < held.size(); ++rank) {
      Parts sum = held[rank];
      sum.insert(sum.end(), (*missing)[rank].begin(), (*missing)[rank].end());
      int samples = 0;
      for (const Part& part : sum) samples += part.size();
      most = std::max(most, samples);
      least = std::min(least, samples);
      after.push_back(sum);
    }
    for (int t : Coverage(batch, after)) ASSERT_EQ(t, 1);
    for (int owner : ShardOwners({batch, shards}, after)) EXPECT_GE(owner, 0);
    int grain = shards > 0 ? (batch + shards - 1) / shards : 1;
    int biggest_held = (batch + ranks - 1) / ranks + grain;
    EXPECT_LE(most, std::max(least + grain, biggest_held));
  }
}

TEST(Parts, WhatOverlapsOrDoesNotFitIsRefused) {
  std::vector<Parts> overlapping = {{{-1, 0, 5}}, {{-1, 4, 8}}};
  EXPECT_EQ(DivideMissing({8, 0}, overlapping).status().code(), StatusCode::kInternal);
  std::vector<Parts> outside = {{{-1, 0, 9}}};
  EXPECT_EQ(DivideMissing({8, 0}, outside).status().code(), StatusCode::kInternal);
  std::vector<Parts> twice = {{{1, 2, 4}}, {{1, 2, 4}}};
  EXPECT_EQ(DivideMissing({8, 4}, twice).status().code(), StatusCode::kInternal);
}

TEST(Parts, TheWireFormIsReadBack) {
  Parts parts = {{3, 10, 20}, {4, 20, 31}};
  EXPECT_EQ(*DecodeParts(EncodeParts(parts)), parts);
  EXPECT_FALSE(DecodeParts(EncodeParts(parts).substr(1)).ok());
}

TEST(Parts, OfRanksThatComputedTheSameTheLowestKeepsIt) {
  const Parts low = {{-1, 0, 4}};
  const Parts high = {{-1, 4, 8}};
  const Parts low_again = {{-1, 3, 5}, {-1, 9, 10}};
  std::vector<Parts> held = {high, low, low_again, {}};
  DropRepeated(&held);
  EXPECT_EQ(held, (std::vector<Parts>{high, low, {}, {}}));

  // Shards are told apart by their number: those of a small batch may be empty.
  held = {{{2, 1, 1}}, {{3, 1, 1}}, {{2, 1, 1}}};
  DropRepeated(&held);
  EXPECT_EQ(held, (std::vector<Parts>{{{2, 1, 1}}, {{3, 1, 1}}, {}}));
}

}  // namespace
}  // namespace closeranks::elastic
