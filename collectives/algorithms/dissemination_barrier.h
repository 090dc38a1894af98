#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_DISSEMINATION_BARRIER_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_DISSEMINATION_BARRIER_H_

#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

// Dissemination barrier (D. Hensgen, R. Finkel and U. Manber, "Two algorithms for barrier
// synchronization", 1988): in round k a rank tells rank + 2^k that it is there, and hears from rank
// - 2^k; a round begins when the one before has ended. After ceil(log2 n) rounds everyone has heard
// of everyone, for any n. Messages are empty.
Schedule DisseminationBarrier(int rank, int size);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_DISSEMINATION_BARRIER_H_
