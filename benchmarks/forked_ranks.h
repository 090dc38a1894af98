// Ranks of a plain communicator: processes of this machine, forked from one, that nobody watches.
// What a benchmark of the collectives runs on, and what elastic runs are compared with.
#ifndef CLOSERANKS_BENCHMARKS_FORKED_RANKS_H_
#define CLOSERANKS_BENCHMARKS_FORKED_RANKS_H_

#include <functional>

#include "base/status.h"
#include "collectives/communicator.h"
#include "collectives/engine/engine.h"
#include "collectives/native_communicator.h"

namespace closeranks::benchmarks {

struct ForkedRanksOptions {
  int ranks = 2;
  bool tcp = false;  // over loopback, instead of shared memory
  bool progress_thread = true;
  collectives::Engine::Options engine;
  NativeCommunicatorOptions communicator;
};

// Forks the ranks, connects them, and calls `run` in each. Blocks until all have ended. How many
// failed, with an error or a crash; each error is a line on stderr. To be called by a process of
// one thread.
int RunForkedRanks(const ForkedRanksOptions& options,
                   const std::function<Status(int rank, Communicator& communicator)>& run);

}  // namespace closeranks::benchmarks

#endif  // CLOSERANKS_BENCHMARKS_FORKED_RANKS_H_
