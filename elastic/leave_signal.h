// SIGTERM and SIGINT as the wish that this process leaves its job.
#ifndef CLOSERANKS_ELASTIC_LEAVE_SIGNAL_H_
#define CLOSERANKS_ELASTIC_LEAVE_SIGNAL_H_

#include <memory>

#include "base/status.h"
#include "base/unique_fd.h"

namespace closeranks::elastic {

// Takes the two signals over for the life of the object, of which a process has one at a time. The
// first of each only sets a mark; the same one again has the effect that it had before, which ends
// a program that is deaf to the first.
class LeaveSignal {
 public:
  // kResourceExhausted when there is no descriptor left.
  static Result<std::unique_ptr<LeaveSignal>> TakeOver();
  ~LeaveSignal();
  LeaveSignal(const LeaveSignal&) = delete;
  LeaveSignal& operator=(const LeaveSignal&) = delete;

  // Any thread, once it came: ends the process by it, as the same one again would.
  void EndProcess() const;
  // Any thread. True from the moment at which the signal was delivered.
  bool came() const;
  // Readable from then on. Not to be read.
  int fd() const { return event_.get(); }

 private:
  explicit LeaveSignal(UniqueFd event);

  UniqueFd event_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_LEAVE_SIGNAL_H_
