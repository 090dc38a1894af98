// Waiting as a seam: what has to happen later is handed to Timers, which an EventLoop implements
// with the kernel's time and a SimulatedWorld with its own.
#ifndef CLOSERANKS_NET_TIMERS_H_
#define CLOSERANKS_NET_TIMERS_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "base/clock.h"

namespace closeranks::net {

// Never reused within one Timers.
using TimerId = uint64_t;
inline constexpr TimerId kNoTimer = 0;

// Single-threaded: all calls come from the thread that drives it (or before it is driven), and so
// do the callbacks, never from inside RunAt, RunAfter or Cancel themselves.
class Timers {
 public:
  virtual ~Timers() = default;

  virtual TimePoint Now() const = 0;

  // Runs `callback` once, not before `when`; those of the same time in the order in which they were
  // set. A time that is past means: as soon as control returns to the driver. kNever never comes.
  // Callbacks that didn't run are destroyed with the Timers, unrun.
  virtual TimerId RunAt(TimePoint when, std::function<void()> callback) = 0;

  // The same, `delay` from now (capped at kNever).
  TimerId RunAfter(Duration delay, std::function<void()> callback) {
    const TimePoint now = Now();
    return RunAt(delay >= kNever - now ? kNever : now + delay, std::move(callback));
  }

  // `id` won't run. Harmless when it ran, was cancelled or is kNoTimer; callable from callbacks, of
  // the timer itself too.
  virtual void Cancel(TimerId id) = 0;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_TIMERS_H_
