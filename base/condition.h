// Waiting for another thread as a seam: a simulator lets threads wait in its own time.
#ifndef CLOSERANKS_BASE_CONDITION_H_
#define CLOSERANKS_BASE_CONDITION_H_

#include <condition_variable>
#include <mutex>

#include "base/clock.h"

namespace closeranks {

// What std::condition_variable is. All calls from any thread.
class Condition {
 public:
  virtual ~Condition() = default;

  // Unlocks, sleeps until NotifyAll or, for want of one, until about `until`, and locks again. May
  // wake for no reason.
  virtual void Wait(std::unique_lock<std::mutex>& lock, TimePoint until) = 0;
  virtual void NotifyAll() = 0;

  // Until `predicate` holds.
  template <typename Predicate>
  void WaitUntilTrue(std::unique_lock<std::mutex>& lock, Predicate predicate) {
    while (!predicate()) Wait(lock, kNever);
  }
};

class SystemCondition final : public Condition {
 public:
  void Wait(std::unique_lock<std::mutex>& lock, TimePoint until) override {
    if (until == kNever) {
      condition_.wait(lock);
    } else {
      condition_.wait_until(lock, until);
    }
  }
  void NotifyAll() override { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_CONDITION_H_
