// Where checkpoints are written, so that the training needn't wait for the disk.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

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

// On a thread of its own. Its destructor waits until nothing is left to do.
class BackgroundThread final : public Background {
 public:
  BackgroundThread();
  ~BackgroundThread() override;

  void Start(std::function<void()> task) override;
  bool AwaitIdle() override;

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // the first one is running
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_BACKGROUND_H_
