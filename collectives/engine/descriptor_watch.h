// Which transports' descriptors are ready, and sleeping until one is: the engine's seam to the
// kernel.
#ifndef CLOSERANKS_COLLECTIVES_ENGINE_DESCRIPTOR_WATCH_H_
#define CLOSERANKS_COLLECTIVES_ENGINE_DESCRIPTOR_WATCH_H_

#include <memory>
#include <span>

#include "base/clock.h"
#include "base/status.h"

namespace closeranks::collectives {

// All calls from any thread. Level-triggered: what isn't done about readiness is reported again.
class DescriptorWatch {
 public:
  virtual ~DescriptorWatch() = default;

  // Watches for something to read, and for the end; `owner` is what Ready gives for it. One watch a
  // descriptor. kResourceExhausted or kUnavailable when the kernel refuses.
  virtual Status Add(int descriptor, void* owner) = 0;
  // Also for room to write, or no longer. `descriptor` must be watched.
  virtual void WatchWriting(int descriptor, void* owner, bool writing) = 0;
  // `descriptor` must be watched.
  virtual void Remove(int descriptor) = 0;

  // The owners of ready descriptors, as many as there are places in `owners`. Doesn't wait.
  virtual size_t Ready(std::span<void*> owners) = 0;
  // Until a descriptor is ready, somebody has called Wake since the last ClearWake, or about
  // `until`. May return for no reason.
  virtual void Sleep(TimePoint until) = 0;
  // Ends every Sleep, now and later, until ClearWake.
  virtual void Wake() = 0;
  virtual void ClearWake() = 0;
};

// By epoll. CHECK-fails when the kernel has no descriptors left. `clock` outlives it.
std::unique_ptr<DescriptorWatch> MakeEpollWatch(const Clock& clock);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ENGINE_DESCRIPTOR_WATCH_H_
