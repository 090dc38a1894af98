// A collective that is under way.
#ifndef CLOSERANKS_COLLECTIVES_WORK_H_
#define CLOSERANKS_COLLECTIVES_WORK_H_

#include <memory>

#include "base/status.h"

namespace closeranks {

// A handle to one operation, cheap to copy; all copies speak of the same operation. All calls may come
// from any thread. Dropping every copy doesn't stop the operation.
//
// Memory: the caller's buffers must stay where they are until the Work is done. A Work is done only when
// no transport will write to them any more, also when it ends with an error.
class Work {
 public:
  class State;  // made and ended by the engine

  Work() = default;  // no operation: done and ok
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}

  // Blocks until the operation is done, driving the communicator's engine meanwhile, and returns how it
  // ended: ok; kTimeout (its deadline passed; names who was waited for); kPeerLost; kMismatch;
  // kAborted or kStaleGeneration (as Communicator::Abort was told).
  Status Wait();

  // True once the operation is done. Doesn't block and doesn't drive anything.
  bool IsDone() const;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_WORK_H_
