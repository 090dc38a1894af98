#include "tests/simulation/simulated_platform.h"

#include <chrono>

#include "glog/logging.h"

namespace closeranks::simulation {
namespace {

constexpr Duration kLongestToPoll = std::chrono::microseconds(60);

bool IsDead(const net::SimulatedProcess& process) {
  return process.state() == net::SimulatedProcess::State::kDead;
}

}  // namespace

void SimulatedLoopThread::RunAndBlock(const std::function<void()>& function) {
  std::mutex mutex;
  SimulatedCondition done(process_);
  bool is_done = false;
  if (!IsDead(process_)) {
    loop_.Post([&] {
      function();
      is_done = true;
      done.NotifyAll();
    });
  }
  std::unique_lock lock(mutex);
  while (!is_done) {
    // A dead process has no loop any more; what is taken apart on it is taken apart here.
    if (IsDead(process_)) return function();
    done.Wait(lock, kNever);
  }
}

SimulatedWatch::~SimulatedWatch() {
  process_.Cancel(poll_);
  for (const auto& [descriptor, watched] : watched_) fabric_.EndObserving(watched.observer);
}

Status SimulatedWatch::Add(int descriptor, void* owner) {
  const auto observer = fabric_.Observe(descriptor, [this] { OnChange(); });
  CHECK(watched_.emplace(descriptor, Watched{owner, false, observer}).second);
  OnChange();
  return OkStatus();
}

void SimulatedWatch::WatchWriting(int descriptor, void* owner, bool writing) {
  Watched& watched = watched_.at(descriptor);
  watched.owner = owner;
  watched.writing = writing;
}

void SimulatedWatch::Remove(int descriptor) {
  const auto found = watched_.find(descriptor);
  if (found == watched_.end()) return;
  fabric_.EndObserving(found->second.observer);
  watched_.erase(found);
}

bool SimulatedWatch::IsReady(int descriptor, const Watched& watched) const {
  const net::Ready ready = fabric_.ReadinessOf(descriptor);
  return ready.readable || ready.hung_up || (watched.writing && ready.writable);
}

size_t SimulatedWatch::Ready(std::span<void*> owners) {
  size_t count = 0;
  for (const auto& [descriptor, watched] : watched_) {
    if (count < owners.size() && IsReady(descriptor, watched)) owners[count++] = watched.owner;
  }
  return count;
}

void SimulatedWatch::Sleep(TimePoint until) {
  for (const auto& [descriptor, watched] : watched_) {
    if (IsReady(descriptor, watched)) return;
  }
  if (is_woken_) return;
  sleeper_ = SimulatedThread::Current();
  CHECK(sleeper_ != nullptr) << "a loop's callback must not wait for a collective";
  sleeper_->WaitUntil(until);
  sleeper_ = nullptr;
}

void SimulatedWatch::Wake() {
  is_woken_ = true;
  if (sleeper_ != nullptr) sleeper_->Wake();
}

void SimulatedWatch::OnChange() {
  if (sleeper_ != nullptr) {
    sleeper_->Wake();
  } else {
    PollSoon();
  }
}

void SimulatedWatch::PollSoon() {
  if (poll_ != net::kNoTimer || engine_ == nullptr) return;
  const Duration delay = process_.world().DrawBetween(Duration::zero(), kLongestToPoll);
  poll_ = process_.RunAfter(delay, [this] {
    poll_ = net::kNoTimer;
    if (sleeper_ == nullptr && engine_->PollOnce()) PollSoon();
  });
}

std::unique_ptr<collectives::DescriptorWatch> SimulatedPlatform::MakeDescriptorWatch() {
  auto watch = std::make_unique<SimulatedWatch>(fabric_, process_);
  newest_watch_ = watch.get();
  return watch;
}

std::unique_ptr<collectives::ProgressThread> SimulatedPlatform::StartProgressThread(
    collectives::Engine& engine) {
  newest_watch_->set_engine(engine);
  return nullptr;
}

}  // namespace closeranks::simulation
