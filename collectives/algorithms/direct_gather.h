#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_GATHER_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_GATHER_H_

#include <span>

#include "collectives/algorithms/shape.h"
#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Each of `senders` sends its input to each of `receivers`, whose output has senders.size() * count
// elements, in their order. One message latency; a sender sends receivers.size() * count elements,
// a receiver receives no more than it keeps. `shape.count` is of one rank's input; no rank stands
// twice among the senders, or among the receivers. Whoever is neither does nothing.
Schedule DirectGather(const Shape& shape, std::span<const int> senders,
                      std::span<const int> receivers);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_DIRECT_GATHER_H_
