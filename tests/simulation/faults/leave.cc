// SIGTERM to a worker, with a grace period that may be shorter than a step.
#include <chrono>

#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class Leave final : public Fault {
 public:
  Leave(MemberId member, Duration grace) : member_(member), grace_(grace) {}
  std::string Text() const override {
    return "tells worker " + std::to_string(member_) + " to leave within " +
           std::to_string(static_cast<int>(ToMilliseconds(grace_))) + " ms";
  }
  void Begin(SystemWorld& world) override {
    if (world.worker(member_) == nullptr) return;
    SimulatedSupervisor& supervisor = *world.supervisor(world.shape().HostOf(member_));
    // Without everyone there is no start.
    if (supervisor.has_started() || world.shape().is_wild())
      supervisor.TellToLeave(member_, grace_);
  }

 private:
  const MemberId member_;
  const Duration grace_;
};

}  // namespace

std::unique_ptr<Fault> DrawLeave(Random& random, const JobShape& shape) {
  const MemberId member = shape.DrawMember(random);
  return std::make_unique<Leave>(member, std::chrono::milliseconds(1 + random.Below(2000)));
}

}  // namespace closeranks::simulation
