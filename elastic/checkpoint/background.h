// Where checkpoints are written, so that the training needn't wait for the disk.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_

#include <condition_variable>
#include <functional>
#include <mutex>

#include "base/clock.h"
#include "net/loop_thread.h"

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

// On a thread of its own. Its destructor waits until nothing is left to do. `clock` outlives it.
class BackgroundThread final : public Background {
 public:
  explicit BackgroundThread(const Clock& clock) : thread_(clock, "checkpoint") {}

  void Start(std::function<void()> task) override;
  bool AwaitIdle() override;

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  int tasks_ = 0;                 // that aren't done
  net::SystemLoopThread thread_;  // last, as its tasks use the others
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_
