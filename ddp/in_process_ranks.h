// Ranks of one process for tests: collectives without transports, threads or time.
#ifndef CLOSERANKS_DDP_IN_PROCESS_RANKS_H_
#define CLOSERANKS_DDP_IN_PROCESS_RANKS_H_

#include <memory>
#include <vector>

#include "collectives/communicator.h"

namespace closeranks::ddp {

// Communicators of ranks 0 to size - 1, each to be used by one thread; they may outlive this
// object. They sum float32 and float64, in order of rank or in the fixed tree; the rank that comes
// last does the work. An abort of one ends the operations of all.
class InProcessRanks {
 public:
  explicit InProcessRanks(int size);

  const std::vector<std::shared_ptr<Communicator>>& communicators() const { return communicators_; }
  // How many operations at least one rank has begun.
  int operations_begun() const;

 private:
  class Meeting;
  class RankBackend;
  struct Rank;

  std::shared_ptr<Meeting> meeting_;
  std::vector<std::shared_ptr<Communicator>> communicators_;
};

}  // namespace closeranks::ddp

#endif  // CLOSERANKS_DDP_IN_PROCESS_RANKS_H_
