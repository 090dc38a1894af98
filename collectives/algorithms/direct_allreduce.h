#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_ALLREDUCE_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_ALLREDUCE_H_

#include "collectives/algorithms/shape.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Direct reduce-scatter and all-gather: every rank owns one of n blocks; everyone sends each block
// to its owner, which adds them and sends the sum to everyone. (The "pairwise exchange" of R.
// Thakur, R. Rabenseifner and W. Gropp, "Optimization of collective communication operations in
// MPICH", IJHPCA 2005, for both halves.)
//
// Each rank sends 2 (n - 1) / n * count elements, as little as the ring, in 2 message latencies
// instead of 2 (n - 1), but over n - 1 links at once: wins where every pair is directly and equally
// connected (shared memory, one switch), loses where many flows share one thin link. For n = 2 it
// is the ring.
//
// A rank sends chunk k of a block only when it has the result of chunk k - kDirectWindow of the
// same block, so that no owner is flooded with chunks whose turn hasn't come. Block b is summed as
// ((x_b + x_{b+1}) + x_{b+2}) + ..., whatever arrives first, so two runs give the same bits.
Schedule DirectAllReduce(const Shape& shape);
inline constexpr size_t kDirectWindow = 8;  // chunks

// Everyone sends everything to everyone and adds all inputs in the order of ranks: n - 1 messages
// of `count` elements, one message latency. Wins for small counts, where latency is all there is.
// Uses (n - 1) * count elements of scratch for n > 2.
Schedule ExchangeAllReduce(const Shape& shape);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_ALLREDUCE_H_
