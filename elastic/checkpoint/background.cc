#include "elastic/checkpoint/background.h"

#include <chrono>
#include <utility>

namespace closeranks::elastic {

void BackgroundThread::Start(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    ++tasks_;
  }
  thread_.RunInLoop([this, task = std::move(task)]() mutable {
    task();
    task = nullptr;  // what it holds goes before anybody hears that it is done
    std::lock_guard lock(mutex_);
    --tasks_;
    done_.notify_all();
  });
}

bool BackgroundThread::AwaitIdle() {
  std::unique_lock lock(mutex_);
  return done_.wait_for(lock, std::chrono::seconds(1), [this] { return tasks_ == 0; });
}

}  // namespace closeranks::elastic
