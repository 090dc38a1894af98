#include "net/simulated_loop.h"

#include <chrono>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

// Never at once: a callback that leaves its descriptor ready mustn't make time stand still.
constexpr Duration kLeastWait = std::chrono::nanoseconds(500);
constexpr Duration kMostWait = std::chrono::microseconds(5);

}  // namespace

SimulatedLoop::~SimulatedLoop() {
  while (!watched_.empty()) Unwatch(watched_.begin()->first);
}

Status SimulatedLoop::Watch(int descriptor, Interest interest, ReadyCallback callback) {
  CHECK(!watched_.contains(descriptor)) << "descriptor " << descriptor << " is watched already";
  Watched& watched = watched_[descriptor];
  watched.interest = interest;
  watched.callback = std::make_shared<ReadyCallback>(std::move(callback));
  watched.observer = fabric_.Observe(descriptor, [this, descriptor] { Consider(descriptor); });
  Consider(descriptor);
  return OkStatus();
}

void SimulatedLoop::Modify(int descriptor, Interest interest) {
  watched_.at(descriptor).interest = interest;
  Consider(descriptor);
}

void SimulatedLoop::Unwatch(int descriptor) {
  // The callback is destroyed last: its captures may own what calls Unwatch again.
  const auto watched = watched_.extract(descriptor);
  if (watched.empty()) return;
  fabric_.EndObserving(watched.mapped().observer);
  process_.Cancel(watched.mapped().look);
}

void SimulatedLoop::Post(std::function<void()> function) {
  process_.RunAfter(Duration::zero(), std::move(function));
}

Ready SimulatedLoop::ReadyFor(int descriptor, Interest interest) const {
  Ready ready = fabric_.ReadinessOf(descriptor);
  ready.readable = ready.readable && interest.readable;
  ready.writable = ready.writable && interest.writable;
  return ready;
}

void SimulatedLoop::Consider(int descriptor) {
  Watched& watched = watched_.at(descriptor);
  if (watched.look != kNoTimer) return;
  const Ready ready = ReadyFor(descriptor, watched.interest);
  if (!ready.readable && !ready.writable && !ready.hung_up) return;
  watched.look = process_.RunAfter(process_.world().DrawBetween(kLeastWait, kMostWait),
                                   [this, descriptor] { Look(descriptor); });
}

void SimulatedLoop::Look(int descriptor) {
  Watched& watched = watched_.at(descriptor);
  watched.look = kNoTimer;
  const Ready ready = ReadyFor(descriptor, watched.interest);
  if (!ready.readable && !ready.writable && !ready.hung_up) return;
  // Keeps the callback alive while it runs, should it unwatch itself.
  const std::shared_ptr<ReadyCallback> callback = watched.callback;
  (*callback)(ready);
  if (watched_.contains(descriptor)) Consider(descriptor);
}

}  // namespace closeranks::net
