// SIGKILL of all workers but one as soon as that one has entered a world: what it received as it
// joined is all that is left of the job.
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class KillAllOthers final : public Fault {
 public:
  KillAllOthers(MemberId member, int nth) : member_(member), nth_(nth) {}

  std::string Text() const override {
    return "kills all workers but " + std::to_string(member_) + " when it has entered a world, " +
           "time " + std::to_string(nth_);
  }
  void Begin(SystemWorld& world) override {
    world.StrikeAt(member_, Point::kEnteredWorld, nth_, [this, &world](SimulatedWorker&) {
      for (MemberId other = 0; other < world.shape().members(); ++other) {
        if (other != member_) world.KillWorker(other);
      }
    });
  }

 private:
  const MemberId member_;
  const int nth_;
};

}  // namespace

std::unique_ptr<Fault> DrawKillAllOthers(Random& random, const JobShape& shape) {
  return std::make_unique<KillAllOthers>(shape.DrawMember(random),
                                         1 + static_cast<int>(random.Below(2)));
}

}  // namespace closeranks::simulation
