// What the threads of a simulated process are made of: they wait in virtual time, and each wait is
// a place where the simulation may stop, delay or kill them.
#ifndef CLOSERANKS_TESTS_SIMULATION_SIMULATED_THREAD_H_
#define CLOSERANKS_TESTS_SIMULATION_SIMULATED_THREAD_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/condition.h"
#include "net/simulated_world.h"
#include "tests/simulation/fiber.h"

namespace closeranks::simulation {

// Begins to run at the next event of its process. A killed process has its threads run to their end
// at once (Finish): no wait of theirs waits any more, and nothing that they do is seen by anybody,
// since the network and the disk don't take anything from a dead process. So everything on their
// stacks is taken apart as it is in an orderly end, and nothing is left behind.
class SimulatedThread {
 public:
  SimulatedThread(net::SimulatedProcess& process, std::function<void()> body);

  // Of the running thread; null for code that isn't on one, such as a loop's callbacks.
  static SimulatedThread* Current();

  // --- from the thread itself ---
  // Until Wake or `until`; may wake for no reason.
  void WaitUntil(TimePoint until);
  // Computes for so long; whatever happens to the process meanwhile.
  void Sleep(Duration duration);

  // --- from anywhere else ---
  // Soon: a thread isn't on its core the moment it may run.
  void Wake();
  // After its process was killed.
  void Finish();
  bool has_ended() const { return fiber_.has_ended(); }

 private:
  void ResumeFor(uint64_t wait);

  net::SimulatedProcess& process_;
  Fiber fiber_;
  uint64_t waits_ = 0;  // begun
  bool is_waiting_ = false;
  bool is_woken_ = false;  // in this wait
};

// Of one process. Never blocks anything but a SimulatedThread.
class SimulatedCondition final : public Condition {
 public:
  explicit SimulatedCondition(net::SimulatedProcess& process) : process_(process) {}

  void Wait(std::unique_lock<std::mutex>& lock, TimePoint until) override;
  void NotifyAll() override;

 private:
  net::SimulatedProcess& process_;
  std::vector<SimulatedThread*> waiting_;
};

// The world's time. For a dead process it flies, so that every limit soon passes.
class ProcessClock final : public Clock {
 public:
  explicit ProcessClock(net::SimulatedProcess& process) : process_(process) {}
  TimePoint Now() const override;

 private:
  net::SimulatedProcess& process_;
  mutable Duration after_death_{};
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_SIMULATED_THREAD_H_
