// SIGKILL of a worker, or of its whole host, at a named place of its life.
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class KillAtPoint final : public Fault {
 public:
  KillAtPoint(MemberId member, Point point, int nth, bool whole_host)
      : member_(member), point_(point), nth_(nth), whole_host_(whole_host) {}

  std::string Text() const override {
    return std::string("kills ") + (whole_host_ ? "the host of worker " : "worker ") +
           std::to_string(member_) + " when it " + std::string(PointName(point_)) + ", time " +
           std::to_string(nth_);
  }
  void Begin(SystemWorld& world) override {
    world.StrikeAt(member_, point_, nth_, [this, &world](SimulatedWorker& worker) {
      if (whole_host_) {
        world.KillHost(world.shape().HostOf(member_), std::chrono::milliseconds(100));
      } else {
        world.KillWorker(worker.member());
      }
    });
  }

 private:
  const MemberId member_;
  const Point point_;
  const int nth_;
  const bool whole_host_;
};

}  // namespace

std::unique_ptr<Fault> DrawKillAtPoint(Random& random, const JobShape& shape) {
  const auto member = shape.DrawMember(random);
  const auto point = static_cast<Point>(random.Below(kPoints));
  const int nth = 1 + static_cast<int>(random.Below(3));
  return std::make_unique<KillAtPoint>(member, point, nth, shape.is_wild && random.OneIn(3));
}

}  // namespace closeranks::simulation
