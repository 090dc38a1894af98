// Waits for descriptors, timers and functions posted by other threads, and calls back: epoll in a
// class.
#ifndef CLOSERANKS_NET_EVENT_LOOP_H_
#define CLOSERANKS_NET_EVENT_LOOP_H_

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "net/loop.h"

namespace closeranks::net {

// Threads: whoever calls PollOnce or Run drives the loop; there is one driver at a time, and every
// other call except Post and Stop comes from it (or while nobody drives). Callbacks run on the
// driver, must not block and must not call PollOnce or Run. They may destroy what they like except
// the loop.
class EventLoop final : public Loop {
 public:
  // `clock` outlives the loop. CHECK-fails when the kernel has no descriptor left for it. With a
  // ManualClock poll with a max_wait of zero: the kernel's waits aren't on that clock.
  explicit EventLoop(const Clock& clock);
  // Callbacks that didn't run are destroyed, unrun. Watched descriptors aren't closed.
  ~EventLoop() override;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Loop. What is posted from a callback runs in a later PollOnce.
  Status Watch(int descriptor, Interest interest, ReadyCallback callback) override;
  void Modify(int descriptor, Interest interest) override;
  void Unwatch(int descriptor) override;
  void Post(std::function<void()> function) override;

  // Timers.
  TimePoint Now() const override { return clock_.Now(); }
  TimerId RunAt(TimePoint when, std::function<void()> callback) override;
  void Cancel(TimerId id) override;

  // Waits up to `max_wait` for something to do, does what there is, and returns how many callbacks
  // ran. Zero doesn't wait, Duration::max() waits as long as it takes. Waits are exact to the
  // nanosecond where the kernel has epoll_pwait2 (5.11), else rounded up to milliseconds.
  size_t PollOnce(Duration max_wait);

  // PollOnce until Stop. May be run again afterwards.
  void Run();
  // Makes Run return after what was posted before; a Run that comes later returns at once. Any
  // thread.
  void Stop();

 private:
  struct Watched {
    int fd;
    ReadyCallback callback;
  };

  int WaitForEvents(Duration wait);
  size_t RunReady(int count);
  size_t RunPosted();
  size_t RunDueTimers();
  void Wake();

  const Clock& clock_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::vector<epoll_event> events_;  // of the batch that is being dispatched
  bool has_exact_wait_ = true;
  bool stopped_ = false;

  // Watches by a number that is never reused: an event that was reported for a descriptor which has
  // been unwatched since, and perhaps reopened as another, finds nothing.
  uint64_t next_watch_ = 1;
  std::unordered_map<int, uint64_t> watch_of_fd_;
  std::unordered_map<uint64_t, std::shared_ptr<Watched>> watches_;

  TimerId next_timer_ = 1;
  std::map<std::pair<TimePoint, TimerId>, std::function<void()>> timers_;
  std::unordered_map<TimerId, TimePoint> time_of_timer_;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_EVENT_LOOP_H_
