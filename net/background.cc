#include "net/background.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "glog/logging.h"
#include "net/loop_thread.h"

namespace closeranks::net {

struct BackgroundThread::Work {
  Work(const Clock& c, const std::string& name) : clock(c), thread(c, name) {}

  const Clock& clock;
  std::mutex mutex;
  std::condition_variable done;
  int tasks = 0;  // that aren't done
  TimePoint oldest_begun{};
  bool is_left_behind = false;
  SystemLoopThread thread;  // last, as its tasks use the others
};

BackgroundThread::BackgroundThread(const Clock& clock, const std::string& name, Duration patience)
    : patience_(patience), work_(std::make_unique<Work>(clock, name)) {}

BackgroundThread::~BackgroundThread() {
  std::unique_lock lock(work_->mutex);
  bool is_said = false;
  while (work_->tasks > 0) {
    const Duration left = work_->oldest_begun + patience_ - work_->clock.Now();
    if (left <= Duration::zero()) {
      LOG(WARNING) << "ends without what was to be read or written: the disk hangs";
      work_->is_left_behind = true;
      lock.unlock();
      (void)work_.release();
      return;
    }
    const Duration turn = std::min<Duration>(left, std::chrono::seconds(10));
    const bool is_idle = work_->done.wait_for(lock, turn, [this] { return work_->tasks == 0; });
    if (!is_idle && !std::exchange(is_said, true)) LOG(INFO) << "waits for the disk before it ends";
  }
}

void BackgroundThread::Start(std::function<void()> task) {
  {
    std::lock_guard lock(work_->mutex);
    if (work_->tasks++ == 0) work_->oldest_begun = work_->clock.Now();
  }
  work_->thread.RunInLoop([work = work_.get(), task = std::move(task)]() mutable {
    task();
    task = nullptr;  // what it holds goes before anybody hears that it is done
    std::unique_lock lock(work->mutex);
    if (work->is_left_behind) {
      // What else there is to do, and the clock, may be gone.
      lock.unlock();
      while (true) pause();
    }
    --work->tasks;
    work->oldest_begun = work->clock.Now();
    work->done.notify_all();
  });
}

bool BackgroundThread::AwaitIdle() {
  std::unique_lock lock(work_->mutex);
  return work_->done.wait_for(lock, std::chrono::seconds(1), [this] { return work_->tasks == 0; });
}

}  // namespace closeranks::net
