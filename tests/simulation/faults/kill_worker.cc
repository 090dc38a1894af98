// SIGKILL of a worker, at any moment.
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class KillWorker final : public Fault {
 public:
  explicit KillWorker(MemberId member) : member_(member) {}
  std::string Text() const override { return "kills worker " + std::to_string(member_); }
  void Begin(SystemWorld& world) override { world.KillWorker(member_); }

 private:
  const MemberId member_;
};

}  // namespace

std::unique_ptr<Fault> DrawKillWorker(Random& random, const JobShape& shape) {
  return std::make_unique<KillWorker>(shape.DrawMember(random));
}

}  // namespace closeranks::simulation
