#include "collectives/algorithms/shard_tree.h"

#include <algorithm>

#include "glog/logging.h"

namespace closeranks {
namespace {

// Appends the maximal nodes within `node` whose shards are all marked in `owned`.
void AppendMaximal(ShardRun node, const std::vector<bool>& owned, std::vector<ShardRun>* nodes) {
  const auto begin = owned.begin() + node.begin;
  const auto end = owned.begin() + node.end;
  if (std::find(begin, end, false) == end) {
    nodes->push_back(node);
    return;
  }
  if (std::find(begin, end, true) == end) return;
  const auto [left, right] = ShardTree::Children(node);
  AppendMaximal(left, owned, nodes);
  AppendMaximal(right, owned, nodes);
}

}  // namespace

std::pair<ShardRun, ShardRun> ShardTree::Children(ShardRun node) {
  CHECK_GE(node.length(), 2);
  int half = 1;
  while (2 * half < node.length()) half *= 2;
  return {{node.begin, node.begin + half}, {node.begin + half, node.end}};
}

bool ShardTree::IsNode(ShardRun run) const {
  if (run.begin < 0 || run.end > shards_ || run.length() < 1) return false;
  ShardRun node = root();
  while (node != run) {
    if (node.length() <= run.length()) return false;
    const auto [left, right] = Children(node);
    node = run.begin < right.begin ? left : right;
  }
  return true;
}

std::optional<ShardRun> ShardTree::Parent(ShardRun node) const {
  ShardRun above = root();
  if (above == node) return std::nullopt;
  while (true) {
    CHECK_GE(above.length(), 2) << node.begin << "-" << node.end << " isn't a node";
    const auto [left, right] = Children(above);
    if (left == node || right == node) return above;
    above = node.begin < right.begin ? left : right;
  }
}

std::optional<ShardRun> ShardTree::Sibling(ShardRun node) const {
  const std::optional<ShardRun> parent = Parent(node);
  if (!parent) return std::nullopt;
  const auto [left, right] = Children(*parent);
  return left == node ? right : left;
}

std::vector<ShardRun> ShardTree::MaximalNodes(std::span<const int> shards) const {
  std::vector<bool> owned(shards_);
  for (int shard : shards) {
    CHECK(shard >= 0 && shard < shards_);
    owned[shard] = true;
  }
  std::vector<ShardRun> nodes;
  AppendMaximal(root(), owned, &nodes);
  return nodes;
}

std::vector<ShardRun> ShardTree::MaximalNodesOf(std::span<const int> owners, int rank) const {
  std::vector<int> shards;
  for (int shard = 0; shard < shards_; ++shard) {
    if (owners[shard] == rank) shards.push_back(shard);
  }
  return MaximalNodes(shards);
}

}  // namespace closeranks
