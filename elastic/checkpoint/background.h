// Where checkpoints are written, so that the training needn't wait for the disk.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_

#include <functional>
#include <memory>

#include "base/clock.h"

namespace closeranks::elastic {

// Called by one thread.
class Background {
 public:
  virtual ~Background() = default;
  // `task` runs some time, after all that were started before it.
  virtual void Start(std::function<void()> task) = 0;
  // Waits until nothing is left to do: true. False after about a second.
  virtual bool AwaitIdle() = 0;
};

// On a thread of its own. `clock` outlives it. Its destructor waits until nothing is left to do,
// but for no task longer than `patience`: then the thread is left behind with it, to stay until the
// process ends, so what tasks use, but for the clock, is never destroyed.
class BackgroundThread final : public Background {
 public:
  BackgroundThread(const Clock& clock, Duration patience);
  ~BackgroundThread() override;

  void Start(std::function<void()> task) override;
  bool AwaitIdle() override;

 private:
  struct Work;

  const Duration patience_;
  std::unique_ptr<Work> work_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_
