// The fixed binary tree over logical shards, in whose order `exact` mode adds. Pure.
#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_SHARD_TREE_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_SHARD_TREE_H_

#include <compare>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace closeranks {

// A run [begin, end) of consecutive logical shards whose contributions are already combined in the
// order of the fixed tree, so it must be a node of that tree.
struct ShardRun {
  int begin = 0;
  int end = 0;
  int length() const { return end - begin; }
  auto operator<=>(const ShardRun&) const = default;
};

// The tree depends on the number of shards only. A node of one shard is a leaf; a longer one [b, e)
// has the children [b, m) and [m, e) with m = b + the largest power of two below e - b. So each
// aligned run of a power of two is a node: where every rank owns 4 shards, the usual case, each
// rank's shards are one node, whatever the number of ranks, and it sends one partial sum. A run
// that isn't aligned falls into at most 2 log2 L nodes.
class ShardTree {
 public:
  // `shards` must be positive.
  explicit ShardTree(int shards) : shards_(shards) {}

  int shards() const { return shards_; }
  ShardRun root() const { return {0, shards_}; }
  bool IsNode(ShardRun run) const;
  // `node` must be a node of at least two shards.
  static std::pair<ShardRun, ShardRun> Children(ShardRun node);
  // `node` must be a node. The root has none.
  std::optional<ShardRun> Parent(ShardRun node) const;
  std::optional<ShardRun> Sibling(ShardRun node) const;

  // The fewest nodes that make up these shards (ascending, each once), ascending.
  std::vector<ShardRun> MaximalNodes(std::span<const int> shards) const;
  // The same for the shards that `rank` owns; owners[s] is the rank of shard s.
  std::vector<ShardRun> MaximalNodesOf(std::span<const int> owners, int rank) const;

 private:
  int shards_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_SHARD_TREE_H_
