#include "tests/simulation/simulated_thread.h"

#include <chrono>
#include <utility>

#include "glog/logging.h"

namespace closeranks::simulation {
namespace {

using net::SimulatedProcess;

constexpr Duration kLongestWayToACore = std::chrono::microseconds(60);
constexpr Duration kAfterDeath = std::chrono::minutes(1);

SimulatedThread* current = nullptr;

bool IsDead(const SimulatedProcess& process) {
  return process.state() == SimulatedProcess::State::kDead;
}

}  // namespace

SimulatedThread::SimulatedThread(SimulatedProcess& process, std::function<void()> body)
    : process_(process), fiber_(std::move(body)) {
  is_waiting_ = true;
  Wake();
}

SimulatedThread* SimulatedThread::Current() { return current; }

void SimulatedThread::WaitUntil(TimePoint until) {
  CHECK(current == this);
  if (IsDead(process_)) return;
  const uint64_t wait = ++waits_;
  is_woken_ = false;
  is_waiting_ = true;
  net::TimerId limit = net::kNoTimer;
  if (until != kNever) limit = process_.RunAt(until, [this, wait] { ResumeFor(wait); });
  Fiber::Park();
  process_.Cancel(limit);
}

void SimulatedThread::Sleep(Duration duration) {
  const TimePoint end = process_.Now() + duration;
  while (!IsDead(process_) && process_.Now() < end) WaitUntil(end);
}

void SimulatedThread::Wake() {
  if (!is_waiting_ || std::exchange(is_woken_, true)) return;
  process_.RunAfter(process_.world().DrawBetween(Duration::zero(), kLongestWayToACore),
                    [this, wait = waits_] { ResumeFor(wait); });
}

void SimulatedThread::ResumeFor(uint64_t wait) {
  if (!is_waiting_ || wait != waits_) return;
  is_waiting_ = false;
  current = this;
  fiber_.Resume();
  current = nullptr;
}

void SimulatedThread::Finish() {
  CHECK(IsDead(process_));
  if (has_ended()) return;
  ResumeFor(waits_);
  CHECK(has_ended()) << "a thread of a killed process still waits for something";
}

void SimulatedCondition::Wait(std::unique_lock<std::mutex>& lock, TimePoint until) {
  if (IsDead(process_)) return;
  SimulatedThread* thread = SimulatedThread::Current();
  CHECK(thread != nullptr) << "a loop's callback must not block";
  waiting_.push_back(thread);
  lock.unlock();
  thread->WaitUntil(until);
  lock.lock();
  std::erase(waiting_, thread);
}

void SimulatedCondition::NotifyAll() {
  for (SimulatedThread* thread : waiting_) thread->Wake();
}

TimePoint ProcessClock::Now() const {
  if (!IsDead(process_)) return process_.Now();
  after_death_ += kAfterDeath;
  return process_.Now() + after_death_;
}

}  // namespace closeranks::simulation
