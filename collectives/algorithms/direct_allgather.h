#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_ALLGATHER_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_ALLGATHER_H_

#include "collectives/algorithms/shape.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Everyone sends its input to everyone: one message latency, (n - 1) * count elements sent by each
// rank, which is also the least that a rank must receive. `shape.count` is of one rank's input; the
// output has n * count elements. The input may be this rank's part of the output: it is read, and
// copying it onto itself is left out by whoever runs the schedule.
Schedule DirectAllGather(const Shape& shape);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_ALLGATHER_H_
