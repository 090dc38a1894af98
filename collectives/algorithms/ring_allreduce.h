#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_RING_ALLREDUCE_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_RING_ALLREDUCE_H_

#include "collectives/algorithms/shape.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Ring all-reduce (P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters
// of workstations", JPDC 2009), pipelined in chunks.
//
// The elements are divided into n blocks. Reduce-scatter: in each of n - 1 steps a rank sends one
// block to the next rank and adds the block that comes from the previous one, so that block b
// starts at rank b, walks once around, and ends, complete, at rank b - 1. All-gather: n - 1 more
// steps carry the complete blocks around. A chunk is passed on as soon as it is added; it doesn't
// wait for its block.
//
// Each rank sends 2 (n - 1) / n * count elements, the least possible, and talks to two neighbours
// only. 2 (n - 1) message latencies: wins for large counts where links are the limit or connections
// are few; loses to the direct algorithm where latency counts or where all links are equally near.
//
// Block b is summed as ((x_b + x_{b+1}) + x_{b+2}) + ..., so bits depend on n.
Schedule RingAllReduce(const Shape& shape);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_RING_ALLREDUCE_H_
