#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_BINOMIAL_BROADCAST_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_BINOMIAL_BROADCAST_H_

#include "collectives/algorithms/shape.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Binomial-tree broadcast, pipelined in chunks, in the output buffer (there is no input).
//
// With ranks counted from the root on, v gets the data from v without its lowest set bit, and
// passes it on to v + 2^k for all 2^k below that bit, the farthest first. ceil(log2 n) message
// latencies; the root sends log2 n times the data, so for large counts and many ranks a scatter and
// all-gather would be better.
Schedule BinomialBroadcast(const Shape& shape, int root);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_BINOMIAL_BROADCAST_H_
