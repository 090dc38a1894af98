// Waiting for descriptors as a seam: what talks over sockets is driven by a Loop, which an
// EventLoop implements with the kernel's epoll, and a SimulatedLoop with a world's own time.
#ifndef CLOSERANKS_NET_LOOP_H_
#define CLOSERANKS_NET_LOOP_H_

#include <functional>

#include "base/status.h"
#include "net/timers.h"

namespace closeranks::net {

struct Interest {
  bool readable = false;
  bool writable = false;
};

struct Ready {
  bool readable = false;
  bool writable = false;
  // An error, or closed in both directions: reading or writing tells which. Reported whatever the
  // interest, again and again until the descriptor is unwatched.
  bool hung_up = false;
};

// Single-threaded but for Post: all other calls come from the thread that drives it (or before it
// is driven), and so do the callbacks, never from inside a call of the loop. Callbacks must not
// block. They may destroy what they like except the loop.
class Loop : public Timers {
 public:
  using ReadyCallback = std::function<void(Ready)>;

  // Calls `callback` as long as `descriptor` is ready for what is of interest (level-triggered).
  // Doesn't own it: unwatch it before it is closed. One watch a descriptor. kResourceExhausted or
  // kUnavailable when the kernel refuses.
  virtual Status Watch(int descriptor, Interest interest, ReadyCallback callback) = 0;
  // `descriptor` must be watched.
  virtual void Modify(int descriptor, Interest interest) = 0;
  // No callback of `descriptor` comes after this, of an event that was already seen neither.
  // Harmless when it isn't watched.
  virtual void Unwatch(int descriptor) = 0;

  // Runs `function` on the driver, in the order of posting. Any thread; wakes the loop.
  virtual void Post(std::function<void()> function) = 0;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_LOOP_H_
