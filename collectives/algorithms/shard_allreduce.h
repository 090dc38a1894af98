#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_SHARD_ALLREDUCE_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_SHARD_ALLREDUCE_H_

#include <span>

#include "collectives/algorithms/shape.h"
#include "collectives/algorithms/shard_tree.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// The sum over logical shards in the order of the fixed tree: the same bits for any number of ranks
// and any spread of the shards.
//
// Each rank's shards fall into nodes of the tree, whose sums it has. The elements are divided over
// all ranks, those without shards too. For its part a rank gets every node of every other rank,
// adds them strictly along the tree, and sends the result to everyone. No addition of the tree is
// left out or done in another order, so nothing can be added on the way, as a ring would.
//
// A rank that holds k nodes sends (n - 1) / n * count * (k + 1) elements: as little as the direct
// all-reduce when its shards are one node (see ShardTree). 2 message latencies. Scratch: (nodes of
// others) * kShardWindow chunks at most; as in DirectAllReduce a sender waits for results before it
// goes on.
//
// `runs` are the nodes of this rank's inputs, ascending: input i is runs[i]. They must make up
// exactly the shards that it owns, but needn't be merged as far as possible: the rest is merged
// here. `shape.in_place` must be false.
Schedule ShardAllReduce(const Shape& shape, std::span<const int> owners,
                        std::span<const ShardRun> runs);
inline constexpr size_t kShardWindow = 4;  // chunks

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_SHARD_ALLREDUCE_H_
