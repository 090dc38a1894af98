// A thread of a simulated process: a stack of its own, run only when the simulation says so.
#ifndef CLOSERANKS_TESTS_SIMULATION_FIBER_H_
#define CLOSERANKS_TESTS_SIMULATION_FIBER_H_

#include <ucontext.h>

#include <functional>
#include <memory>

namespace closeranks::simulation {

// All fibers of a simulation run on one thread, one at a time, and change places only in Resume and
// Park. A std::mutex that one holds while it parks would be locked for the others too.
class Fiber {
 public:
  // Doesn't run yet. `body` must not throw.
  explicit Fiber(std::function<void()> body);
  // It has ended, or was never resumed (CHECK): what stands on its stack would be lost.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs it until it parks or ends. Not from within a fiber.
  void Resume();
  bool has_ended() const { return has_ended_; }

  // From within a fiber: back to who resumed it, until it is resumed again.
  static void Park();
  // Null outside of any.
  static Fiber* Current();

 private:
  static void Enter();

  std::function<void()> body_;
  void* stack_ = nullptr;
  ucontext_t own_{};
  ucontext_t resumer_{};
  bool has_begun_ = false;
  bool has_ended_ = false;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_FIBER_H_
