// Lets the supervisor see the death of this process at once.
//
// The kernel takes a dying process's memory apart before it closes its descriptors, which for a
// training process takes tens of milliseconds; only then do its peers' sockets say anything. A
// lifeline is a pipe whose writing end only one thread holds, in a descriptor table of its own:
// that table is closed when the thread ends, and of all threads only the last one to end takes the
// memory apart first. With two lifelines at least one closes early.
#ifndef CLOSERANKS_ELASTIC_LIFELINE_H_
#define CLOSERANKS_ELASTIC_LIFELINE_H_

#include <memory>
#include <thread>

#include "base/status.h"
#include "base/unique_fd.h"

namespace closeranks::elastic {

class Lifeline {
 public:
  // kUnavailable where the kernel doesn't let a thread have a descriptor table of its own (some
  // containers): the death is then seen by the ordinary ways, later.
  static Result<std::unique_ptr<Lifeline>> Make();
  // Ends the thread: to whoever holds the other end this looks like death.
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  // The reading end: its other side closes when this process dies, and never says anything. Once.
  UniqueFd TakeReadEnd() { return std::move(read_end_); }

 private:
  Lifeline() = default;

  UniqueFd read_end_;
  UniqueFd stop_;  // an eventfd that ends the thread
  std::thread thread_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_LIFELINE_H_
