// Where files are read and written, so that neither a training nor a loop waits for the disk.
#ifndef CLOSERANKS_NET_BACKGROUND_H_
#define CLOSERANKS_NET_BACKGROUND_H_

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"

namespace closeranks::net {

// Called by one thread.
class Background {
 public:
  virtual ~Background() = default;
  // `task` runs some time, after all that were started before it.
  virtual void Start(std::function<void()> task) = 0;
  // Waits until nothing is left to do: true. False after about a second.
  virtual bool AwaitIdle() = 0;
};

// On a thread of its own, which tools show as `name`. `clock` outlives it. Its destructor waits
// until nothing is left to do, but for no task longer than `patience`: then the thread is left
// behind with it, to stay until the process ends, so what tasks use, but for the clock, is never
// destroyed.
class BackgroundThread final : public Background {
 public:
  BackgroundThread(const Clock& clock, const std::string& name, Duration patience);
  ~BackgroundThread() override;

  void Start(std::function<void()> task) override;
  bool AwaitIdle() override;

 private:
  struct Work;

  const Duration patience_;
  std::unique_ptr<Work> work_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_BACKGROUND_H_
