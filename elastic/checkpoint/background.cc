#include "elastic/checkpoint/background.h"

#include <chrono>
#include <utility>

namespace closeranks::elastic {

BackgroundThread::BackgroundThread() : thread_([this] { Run(); }) {}

BackgroundThread::~BackgroundThread() {
  {
    std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundThread::Start(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

bool BackgroundThread::AwaitIdle() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(1), [this] { return tasks_.empty(); });
}

void BackgroundThread::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    lock.unlock();
    task();
    task = nullptr;  // what it holds goes before anybody hears that it is done
    lock.lock();
    tasks_.pop_front();
    changed_.notify_all();
  }
}

}  // namespace closeranks::elastic
