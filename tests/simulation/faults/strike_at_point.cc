// At a named place of a worker's life: SIGKILL of it or of its whole host, SIGSTOP, or its host is
// cut off from the others.
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

enum class Strike { kKill, kStop, kKillHost, kCutOff };
constexpr int kStrikesAtAWorker = 2;
constexpr int kStrikes = 4;

std::string TextOf(Strike strike) {
  switch (strike) {
    case Strike::kKill:
      return "kills worker ";
    case Strike::kStop:
      return "stops worker ";
    case Strike::kKillHost:
      return "kills the host of worker ";
    case Strike::kCutOff:
      return "cuts off the host of worker ";
  }
  return "";
}

class StrikeAtPoint final : public Fault {
 public:
  StrikeAtPoint(Strike strike, MemberId member, Point point, int nth)
      : strike_(strike), member_(member), point_(point), nth_(nth) {}

  std::string Text() const override {
    return TextOf(strike_) + std::to_string(member_) + " when it " +
           std::string(PointName(point_)) + ", time " + std::to_string(nth_);
  }
  void Begin(SystemWorld& world) override {
    world.StrikeAt(member_, point_, nth_,
                   [this, &world](SimulatedWorker& worker) { Act(world, worker); });
  }
  void End(SystemWorld& world) override {
    is_over_ = true;
    if (strike_ == Strike::kCutOff) {
      ForEachOtherHost(world, &net::SimulatedFabric::HealBoth);
    } else if (strike_ == Strike::kStop) {
      if (SimulatedWorker* worker = world.worker(member_)) {
        world.fabric().Continue(worker->process());
      }
    }
  }

 private:
  void Act(SystemWorld& world, SimulatedWorker& worker) {
    switch (strike_) {
      case Strike::kKill:
        return world.KillWorker(worker.member());
      case Strike::kKillHost:
        return world.KillHost(world.shape().HostOf(member_), std::chrono::milliseconds(100));
      case Strike::kStop:
        if (!is_over_) world.fabric().Stop(worker.process());
        return;
      case Strike::kCutOff:
        if (!is_over_) ForEachOtherHost(world, &net::SimulatedFabric::CutBoth);
        return;
    }
  }
  template <typename Action>
  void ForEachOtherHost(SystemWorld& world, Action action) {
    const int own = world.shape().HostOf(member_);
    for (int other = 0; other < world.shape().hosts; ++other) {
      if (other != own) (world.fabric().*action)(world.HostName(own), world.HostName(other));
    }
  }

  const Strike strike_;
  const MemberId member_;
  const Point point_;
  const int nth_;
  bool is_over_ = false;
};

}  // namespace

std::unique_ptr<Fault> DrawStrikeAtPoint(Random& random, const JobShape& shape) {
  const int strikes = shape.faults == Faults::kSparing ? kStrikesAtAWorker : kStrikes;
  const auto strike = static_cast<Strike>(random.Below(strikes));
  const auto member = shape.DrawMember(random);
  const auto point = static_cast<Point>(random.Below(kPoints));
  return std::make_unique<StrikeAtPoint>(strike, member, point,
                                         1 + static_cast<int>(random.Below(3)));
}

}  // namespace closeranks::simulation
