#include "collectives/algorithms/shard_tree.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"

namespace closeranks {
namespace {

std::vector<ShardRun> AllNodes(const ShardTree& tree) {
  std::vector<ShardRun> nodes = {tree.root()};
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].length() == 1) continue;
    const auto [left, right] = ShardTree::Children(nodes[i]);
    nodes.push_back(left);
    nodes.push_back(right);
  }
  return nodes;
}

TEST(ShardTree, ParentAndSiblingUndoChildren) {
  for (int shards = 1; shards <= 40; ++shards) {
    const ShardTree tree(shards);
    for (ShardRun node : AllNodes(tree)) {
      EXPECT_TRUE(tree.IsNode(node));
      if (node.length() == 1) continue;
      const auto [left, right] = ShardTree::Children(node);
      EXPECT_EQ(left.begin, node.begin);
      EXPECT_EQ(left.end, right.begin);
      EXPECT_EQ(right.end, node.end);
      EXPECT_EQ(tree.Parent(left), node);
      EXPECT_EQ(tree.Parent(right), node);
      EXPECT_EQ(tree.Sibling(left), right);
      EXPECT_EQ(tree.Sibling(right), left);
    }
    EXPECT_EQ(tree.Parent(tree.root()), std::nullopt);
    EXPECT_EQ(tree.Sibling(tree.root()), std::nullopt);
  }
}

TEST(ShardTree, ExactlyTheRunsOfTheTreeAreNodes) {
  const ShardTree tree(13);
  const std::vector<ShardRun> nodes = AllNodes(tree);
  for (int begin = -1; begin <= 13; ++begin) {
    for (int end = begin; end <= 14; ++end) {
      const ShardRun run{begin, end};
      EXPECT_EQ(tree.IsNode(run), std::find(nodes.begin(), nodes.end(), run) != nodes.end())
          << begin << "-" << end;
    }
  }
}

TEST(ShardTree, AlignedRunsOfAPowerOfTwoAreNodes) {
  for (int shards = 4; shards <= 132; shards += 4) {
    const ShardTree tree(shards);
    for (int begin = 0; begin < shards; begin += 4) EXPECT_TRUE(tree.IsNode({begin, begin + 4}));
  }
}

TEST(ShardTree, MaximalNodesCoverTheShardsOnceAndCantBeMerged) {
  SeededRandom random(3);
  for (int round = 0; round < 500; ++round) {
    const int shards = 1 + static_cast<int>(random.Below(40));
    const ShardTree tree(shards);
    std::vector<int> owned;
    for (int shard = 0; shard < shards; ++shard) {
      if (!random.OneIn(3)) owned.push_back(shard);
    }
    const std::vector<ShardRun> nodes = tree.MaximalNodes(owned);
    std::vector<int> covered;
    for (ShardRun node : nodes) {
      EXPECT_TRUE(tree.IsNode(node));
      for (int shard = node.begin; shard < node.end; ++shard) covered.push_back(shard);
      const auto sibling = tree.Sibling(node);
      EXPECT_TRUE(!sibling || std::find(nodes.begin(), nodes.end(), *sibling) == nodes.end());
    }
    EXPECT_EQ(covered, owned);
  }
}

TEST(ShardTree, ContiguousRunFallsIntoFewNodes) {
  const ShardTree tree(64);
  for (int begin = 0; begin < 64; ++begin) {
    std::vector<int> owned;
    for (int end = begin; end < 64; ++end) {
      owned.push_back(end);
      EXPECT_LE(tree.MaximalNodes(owned).size(), 12u);  // 2 log2 L
    }
  }
}

}  // namespace
}  // namespace closeranks
