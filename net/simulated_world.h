// A world with its own time, for tests: nothing happens by itself, everything happens in an order
// that a seed decides, and hours pass in milliseconds.
#ifndef CLOSERANKS_NET_SIMULATED_WORLD_H_
#define CLOSERANKS_NET_SIMULATED_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "net/timers.h"

namespace closeranks::net {

// Time stands still while an event runs. Single-threaded. The same seed and the same calls give the
// same events, as long as those neither look at the real clock nor iterate in the order of
// addresses.
class SimulatedWorld final : public Timers {
 public:
  explicit SimulatedWorld(uint64_t seed);

  const Clock& clock() const { return clock_; }
  Random& random() { return random_; }
  // Uniform in [least, most].
  Duration DrawBetween(Duration least, Duration most);

  // Timers of the world itself, such as its faults; a process has its own (SimulatedProcess).
  TimePoint Now() const override { return clock_.Now(); }
  TimerId RunAt(TimePoint when, std::function<void()> callback) override;
  void Cancel(TimerId id) override;

  // Moves time to the next event and runs it; false when there is none.
  bool RunOne();
  // Runs what is due up to and including `when`, and leaves time there.
  void RunUntil(TimePoint when);
  void RunFor(Duration duration) { RunUntil(Now() + duration); }
  // Runs until `condition` holds, for at most `limit`; returns whether it does.
  bool RunUntilTrue(const std::function<bool()>& condition, Duration limit);

  size_t events_run() const { return events_run_; }

 private:
  ManualClock clock_;
  SeededRandom random_;
  TimerId next_timer_ = 1;
  size_t events_run_ = 0;
  std::map<std::pair<TimePoint, TimerId>, std::function<void()>> events_;
  std::map<TimerId, TimePoint> time_of_timer_;
};

// The timers of one process, which can be stopped (SIGSTOP: due timers run when it goes on) and
// killed (none runs any more). Outlived by the world; outlives what was given it as Timers. The
// network's side of both is SimulatedFabric's, which is also where to call for them.
class SimulatedProcess final : public Timers {
 public:
  enum class State { kRunning, kStopped, kDead };

  explicit SimulatedProcess(SimulatedWorld& world) : world_(world) {}
  ~SimulatedProcess() override;
  SimulatedProcess(const SimulatedProcess&) = delete;
  SimulatedProcess& operator=(const SimulatedProcess&) = delete;

  TimePoint Now() const override { return world_.Now(); }
  TimerId RunAt(TimePoint when, std::function<void()> callback) override;
  void Cancel(TimerId id) override;

  State state() const { return state_; }
  SimulatedWorld& world() { return world_; }

 private:
  friend class SimulatedFabric;

  struct Timer {
    TimerId in_world;
    std::function<void()> callback;
  };

  void Stop();
  void Continue();
  void Kill() { state_ = State::kDead; }
  void Fire(TimerId id);

  SimulatedWorld& world_;
  State state_ = State::kRunning;
  TimerId next_timer_ = 1;
  std::map<TimerId, Timer> timers_;
  std::vector<TimerId> due_;  // while stopped
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_WORLD_H_
