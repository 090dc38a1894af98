// How threads take turns in driving an engine, and how they sleep.
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "collectives/engine/engine.h"
#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

// While callers wait again and again, the serving thread only looks so often whether they have
// stopped.
constexpr int kFirstParkMs = 1;
constexpr int kLongestParkMs = 16;
// A thread that polls for longer than this lets others run in between: the peer that it waits for
// may want its core.
constexpr Duration kSpinAlone = std::chrono::microseconds(2);
// If it doesn't get its core back within this, somebody computes there, and being woken is faster
// than waiting for a turn. Then it doesn't offer its core for so many waits.
constexpr Duration kLongYield = std::chrono::microseconds(200);
constexpr int kWaitsWithoutYield = 64;

void Ring(const UniqueFd& event) {
  const uint64_t one = 1;
  CHECK_EQ(write(event.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
}

void Drain(const UniqueFd& event) {
  uint64_t count = 0;
  (void)!read(event.get(), &count, sizeof(count));  // nonblocking: nothing there is fine
}

}  // namespace

Engine::PoliteLock::PoliteLock(Engine& engine) {
  engine.contenders_.fetch_add(1);
  lock_ = std::unique_lock(engine.mutex_);
  engine.contenders_.fetch_sub(1);
}

void Engine::WakeSleepers() {
  if (wake_written_) return;
  wake_written_ = true;
  watch_->Wake();
}

void Engine::UnparkServer() {
  if (!server_parked_) return;
  server_parked_ = false;
  Ring(park_);
}

void Engine::DrainWake() {
  if (!wake_written_) return;
  wake_written_ = false;
  watch_->ClearWake();
}

bool Engine::PrepareToSleep() {
  for (const auto& attached : transports_) {
    if (attached->failed) continue;
    Transport& transport = *attached->transport;
    if (transport.capabilities().polls_memory) {
      armed_ = true;
      if (!transport.PrepareToSleep()) return false;
    }
    const bool writing = transport.wants_to_write();
    if (transport.descriptor() >= 0 && writing != attached->watches_writing) {
      attached->watches_writing = writing;
      watch_->WatchWriting(transport.descriptor(), attached.get(), writing);
    }
  }
  return true;
}

void Engine::EndSleep() {
  if (!armed_) return;
  armed_ = false;
  for (const auto& attached : transports_) {
    if (!attached->failed && attached->transport->capabilities().polls_memory) {
      attached->transport->Awake();
    }
  }
}

// Sleeps until a descriptor is ready or the next deadline. What was ready is asked for again by the
// next round: meanwhile a transport may have gone.
void Engine::Sleep(std::unique_lock<std::mutex>& lock, bool* sleeping) {
  const TimePoint until = next_deadline_;
  *sleeping = true;
  lock.unlock();
  watch_->Sleep(until);
  lock.lock();
  *sleeping = false;
  slept_ = true;
}

// A mutex is unfair: one that is released and taken again at once rarely goes to another thread.
// Bounded, since whoever wants it may be off its core.
void Engine::GiveWay(std::unique_lock<std::mutex>& lock) {
  if (contenders_.load(std::memory_order_relaxed) == 0) return;
  lock.unlock();
  for (int i = 0; i < 1000 && contenders_.load(std::memory_order_relaxed) > 0; ++i) sched_yield();
  lock.lock();
}

void Engine::TellLost(std::unique_lock<std::mutex>& lock) {
  while (!lost_.empty()) {
    const std::vector<std::pair<MemberProcess, Status>> lost = std::exchange(lost_, {});
    const PeerLostCallback callback = on_peer_lost_;
    if (!callback) return;
    lock.unlock();
    for (const auto& [peer, why] : lost) callback(peer, why);
    lock.lock();
  }
}

Status Engine::Wait(Operation& operation) {
  PoliteLock polite(*this);
  std::unique_lock<std::mutex>& lock = polite.get();
  ++waiters_;
  ++waits_begun_;
  while (!operation.IsDone()) {
    if (driving_) {
      ++followers_;
      driver_left_.wait(lock);
      --followers_;
      continue;
    }
    driving_ = true;
    DriveUntilDone(lock, operation);
    driving_ = false;
    if (followers_ > 0) driver_left_.notify_all();
  }
  --waiters_;
  // If the serving thread sleeps in the kernel it relies on being armed. (If it is parked it looks
  // for itself.)
  if (server_asleep_ && !armed_ && !driving_ && !PrepareToSleep()) WakeSleepers();
  return operation.status();
}

void Engine::Yield(std::unique_lock<std::mutex>& lock) {
  const TimePoint before = clock_.Now();
  lock.unlock();
  sched_yield();
  lock.lock();
  if (clock_.Now() - before > kLongYield) without_yield_ = kWaitsWithoutYield;
}

void Engine::DriveUntilDone(std::unique_lock<std::mutex>& lock, const Operation& operation) {
  TimePoint quiet_since = clock_.Now();
  while (!operation.IsDone()) {
    EndSleep();
    const bool moved = PollLocked();
    TellLost(lock);
    if (operation.IsDone()) return;
    const TimePoint now = clock_.Now();
    if (moved) quiet_since = now;
    if (moved || now - quiet_since < (without_yield_ > 0 ? kSpinAlone : options_.spin)) {
      GiveWay(lock);
      if (now - quiet_since > kSpinAlone) Yield(lock);
      continue;
    }
    if (without_yield_ > 0) --without_yield_;
    if (!PrepareToSleep()) continue;
    Sleep(lock, &driver_asleep_);
    DrainWake();
    quiet_since = clock_.Now();
  }
}

void Engine::Serve() {
  PoliteLock polite(*this);
  std::unique_lock<std::mutex>& lock = polite.get();
  CHECK(!serving_) << "one serving thread at most";
  serving_ = true;
  uint64_t waits_seen = waits_begun_;
  int park_ms = kFirstParkMs;
  while (!stop_serving_) {
    if (waiters_ > 0 || waits_begun_ != waits_seen) {
      // Somebody else drives, or did a moment ago and is likely to do it again. Every wake-up of
      // ours would take a core away from it.
      waits_seen = waits_begun_;
      server_parked_ = true;
      lock.unlock();
      pollfd park{park_.get(), POLLIN, 0};
      poll(&park, 1, park_ms);
      lock.lock();
      if (server_parked_) {
        park_ms = std::min(2 * park_ms, kLongestParkMs);
      } else {  // called
        Drain(park_);
        waits_seen = waits_begun_;
      }
      server_parked_ = false;
      continue;
    }
    park_ms = kFirstParkMs;
    EndSleep();
    const bool moved = PollLocked();
    TellLost(lock);
    if (moved) {
      GiveWay(lock);
      continue;
    }
    if (stop_serving_ || waiters_ > 0 || !PrepareToSleep()) continue;
    Sleep(lock, &server_asleep_);
    if (waiters_ == 0) DrainWake();
  }
  serving_ = false;
  stop_serving_ = false;
}

void Engine::StopServing() {
  PoliteLock lock(*this);
  stop_serving_ = true;
  UnparkServer();
  WakeSleepers();
}

}  // namespace closeranks::collectives
