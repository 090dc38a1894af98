// SIGSTOP, and SIGCONT later: of a worker, or of a supervisor.
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class StopWorker final : public Fault {
 public:
  explicit StopWorker(MemberId member) : member_(member) {}
  std::string Text() const override { return "stops worker " + std::to_string(member_); }
  void Begin(SystemWorld& world) override {
    if (SimulatedWorker* worker = world.worker(member_)) world.fabric().Stop(worker->process());
  }
  // It may be another one by now; that one isn't stopped, and going on does it no harm.
  void End(SystemWorld& world) override {
    if (SimulatedWorker* worker = world.worker(member_)) world.fabric().Continue(worker->process());
  }

 private:
  const MemberId member_;
};

class StopSupervisor final : public Fault {
 public:
  explicit StopSupervisor(int host) : host_(host) {}
  std::string Text() const override {
    return "stops the supervisor of host " + std::to_string(host_);
  }
  void Begin(SystemWorld& world) override {
    if (auto* supervisor = world.supervisor(host_)) world.fabric().Stop(supervisor->process());
  }
  void End(SystemWorld& world) override {
    if (auto* supervisor = world.supervisor(host_)) world.fabric().Continue(supervisor->process());
  }

 private:
  const int host_;
};

}  // namespace

std::unique_ptr<Fault> DrawStopWorker(Random& random, const JobShape& shape) {
  return std::make_unique<StopWorker>(shape.DrawMember(random));
}

std::unique_ptr<Fault> DrawStopSupervisor(Random& random, const JobShape& shape) {
  return std::make_unique<StopSupervisor>(static_cast<int>(random.Below(shape.hosts)));
}

}  // namespace closeranks::simulation
