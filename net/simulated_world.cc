#include "net/simulated_world.h"

#include <algorithm>
#include <chrono>

#include "glog/logging.h"

namespace closeranks::net {

SimulatedWorld::SimulatedWorld(uint64_t seed) : random_(seed) {
  // So that no time that anybody sees is the TimePoint{} that a forgotten initialisation leaves.
  clock_.Advance(std::chrono::hours(1));
}

Duration SimulatedWorld::DrawBetween(Duration least, Duration most) {
  CHECK(least <= most);
  return least + Duration(random_.Below(static_cast<uint64_t>((most - least).count()) + 1));
}

TimerId SimulatedWorld::RunAt(TimePoint when, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  when = std::max(when, Now());
  time_of_timer_[id] = when;
  events_.emplace(std::pair(when, id), std::move(callback));
  return id;
}

void SimulatedWorld::Cancel(TimerId id) {
  const auto found = time_of_timer_.find(id);
  if (found == time_of_timer_.end()) return;
  const auto event = events_.extract(std::pair(found->second, id));
  time_of_timer_.erase(found);
}

bool SimulatedWorld::RunOne() {
  if (events_.empty() || events_.begin()->first.first == kNever) return false;
  auto event = events_.extract(events_.begin());
  time_of_timer_.erase(event.key().second);
  clock_.AdvanceTo(event.key().first);
  ++events_run_;
  event.mapped()();
  return true;
}

void SimulatedWorld::RunUntil(TimePoint when) {
  while (!events_.empty() && events_.begin()->first.first <= when) {
    if (!RunOne()) break;
  }
  clock_.AdvanceTo(std::max(when, Now()));
}

bool SimulatedWorld::RunUntilTrue(const std::function<bool()>& condition, Duration limit) {
  const TimePoint end = Now() + limit;
  while (!condition()) {
    if (events_.empty() || events_.begin()->first.first > end) {
      clock_.AdvanceTo(end);
      return false;
    }
    RunOne();
  }
  return true;
}

SimulatedProcess::~SimulatedProcess() {
  for (const auto& [id, timer] : timers_) world_.Cancel(timer.in_world);
}

TimerId SimulatedProcess::RunAt(TimePoint when, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  timers_[id] = {world_.RunAt(when, [this, id] { Fire(id); }), std::move(callback)};
  return id;
}

void SimulatedProcess::Cancel(TimerId id) {
  const auto timer = timers_.extract(id);
  if (!timer.empty()) world_.Cancel(timer.mapped().in_world);
}

void SimulatedProcess::Stop() {
  if (state_ == State::kRunning) state_ = State::kStopped;
}

void SimulatedProcess::Continue() {
  if (state_ != State::kStopped) return;
  state_ = State::kRunning;
  for (const TimerId id : std::exchange(due_, {})) {
    // Cancelled ones have gone from timers_.
    const auto found = timers_.find(id);
    if (found == timers_.end()) continue;
    found->second.in_world = world_.RunAfter(Duration::zero(), [this, id] { Fire(id); });
  }
}

void SimulatedProcess::Fire(TimerId id) {
  if (state_ == State::kStopped) {
    due_.push_back(id);
    return;
  }
  auto timer = timers_.extract(id);
  if (state_ == State::kDead) return;
  timer.mapped().callback();
}

}  // namespace closeranks::net
