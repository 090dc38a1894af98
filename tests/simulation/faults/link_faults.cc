// What goes wrong between two hosts, or within one: cut one way, clogged, reset, slow, and all
// links between two halves cut at once.
#include <chrono>
#include <functional>
#include <utility>

#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

using net::SimulatedFabric;
using std::chrono::milliseconds;

// Of one direction.
class LinkFault final : public Fault {
 public:
  using Act = std::function<void(SimulatedFabric&, const std::string&, const std::string&)>;

  LinkFault(std::string verb, int from, int to, Act begin, Act end)
      : verb_(std::move(verb)),
        from_(from),
        to_(to),
        begin_(std::move(begin)),
        end_(std::move(end)) {}

  std::string Text() const override {
    return verb_ + " from host " + std::to_string(from_) + " to host " + std::to_string(to_);
  }
  void Begin(SystemWorld& world) override { Do(world, begin_); }
  void End(SystemWorld& world) override { Do(world, end_); }

 private:
  void Do(SystemWorld& world, const Act& act) {
    if (act) act(world.fabric(), world.HostName(from_), world.HostName(to_));
  }

  const std::string verb_;
  const int from_;
  const int to_;
  const Act begin_;
  const Act end_;
};

std::unique_ptr<Fault> Draw(Random& random, const JobShape& shape, std::string verb,
                            LinkFault::Act begin, LinkFault::Act end) {
  const int from = static_cast<int>(random.Below(shape.hosts));
  const int to = static_cast<int>((from + 1 + random.Below(shape.hosts - 1)) % shape.hosts);
  return std::make_unique<LinkFault>(std::move(verb), from, to, std::move(begin), std::move(end));
}

class Partition final : public Fault {
 public:
  explicit Partition(uint64_t half) : half_(half) {}

  std::string Text() const override {
    return "cuts the hosts of the bits of " + std::to_string(half_) + " off from the others";
  }
  void Begin(SystemWorld& world) override { ForEachCut(world, &SimulatedFabric::CutBoth); }
  void End(SystemWorld& world) override { ForEachCut(world, &SimulatedFabric::HealBoth); }

 private:
  template <typename Act>
  void ForEachCut(SystemWorld& world, Act act) {
    for (int a = 0; a < world.shape().hosts; ++a) {
      for (int b = 0; b < world.shape().hosts; ++b) {
        if ((half_ >> a & 1) == 1 && (half_ >> b & 1) == 0) {
          (world.fabric().*act)(world.HostName(a), world.HostName(b));
        }
      }
    }
  }

  const uint64_t half_;
};

}  // namespace

std::unique_ptr<Fault> DrawCutLink(Random& random, const JobShape& shape) {
  return Draw(
      random, shape, "cuts what goes",
      [](SimulatedFabric& fabric, const auto& from, const auto& to) { fabric.Cut(from, to); },
      [](SimulatedFabric& fabric, const auto& from, const auto& to) { fabric.Heal(from, to); });
}

std::unique_ptr<Fault> DrawClogLink(Random& random, const JobShape& shape) {
  return Draw(
      random, shape, "clogs what goes",
      [](SimulatedFabric& fabric, const auto& from, const auto& to) { fabric.Clog(from, to); },
      [](SimulatedFabric& fabric, const auto& from, const auto& to) { fabric.Unclog(from, to); });
}

std::unique_ptr<Fault> DrawResetLink(Random& random, const JobShape& shape) {
  return Draw(
      random, shape, "resets the connections",
      [](SimulatedFabric& fabric, const auto& from, const auto& to) {
        fabric.ResetConnections(from, to);
      },
      nullptr);
}

std::unique_ptr<Fault> DrawSlowLink(Random& random, const JobShape& shape) {
  const milliseconds most(1 + random.Below(20));
  return Draw(
      random, shape, "slows what goes",
      [most](SimulatedFabric& fabric, const auto& from, const auto& to) {
        fabric.SetDelay(from, to, most / 4, most);
      },
      [](SimulatedFabric& fabric, const auto& from, const auto& to) {
        fabric.SetDelay(from, to, std::chrono::microseconds(50), std::chrono::microseconds(200));
      });
}

std::unique_ptr<Fault> DrawPartition(Random& random, const JobShape& shape) {
  return std::make_unique<Partition>(1 + random.Below((uint64_t{1} << shape.hosts) - 2));
}

}  // namespace closeranks::simulation
