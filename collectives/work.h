// A collective that is under way.
#ifndef CLOSERANKS_COLLECTIVES_WORK_H_
#define CLOSERANKS_COLLECTIVES_WORK_H_

#include <memory>
#include <utility>

#include "base/status.h"

namespace closeranks {

// A handle to one operation, cheap to copy; all copies speak of the same operation. All calls may
// come from any thread. Dropping every copy doesn't stop the operation.
//
// Memory: the caller's buffers must stay where they are until the Work is done. A Work is done only
// when no transport will write to them any more, also when it ends with an error.
//
// Lifetime: what performs the operation (for the native backend the engine) must outlive every
// Wait.
class Work {
 public:
  // The operation itself: made and ended by the backend that performs it. All calls from any
  // thread.
  class State {
   public:
    virtual ~State() = default;
    // See Work.
    virtual Status Wait() = 0;
    virtual bool IsDone() const = 0;
  };

  Work() = default;  // no operation: done and ok
  explicit Work(std::shared_ptr<State> state) : state_(std::move(state)) {}
  // An operation that ended before it began: done, and Wait returns `status`.
  static Work Ended(Status status);

  // Blocks until the operation is done, driving the communicator's engine meanwhile, and returns
  // how it ended: ok; kTimeout (its deadline passed; names who was waited for); kPeerLost;
  // kMismatch; kAborted or kStaleGeneration (as Communicator::Abort was told).
  Status Wait() { return state_ ? state_->Wait() : OkStatus(); }

  // True once the operation is done. Doesn't block and doesn't drive anything.
  bool IsDone() const { return state_ == nullptr || state_->IsDone(); }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_WORK_H_
