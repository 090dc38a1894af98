// A whole host goes at once, and comes back or doesn't: the loss of a pod.
#include <chrono>
#include <optional>

#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class KillHost final : public Fault {
 public:
  // `down`: none: for good.
  KillHost(int host, std::optional<Duration> down) : host_(host), down_(down) {}
  std::string Text() const override {
    return "kills host " + std::to_string(host_) + (down_.has_value() ? "" : " for good");
  }
  void Begin(SystemWorld& world) override { world.KillHost(host_, down_); }

 private:
  const int host_;
  const std::optional<Duration> down_;
};

}  // namespace

std::unique_ptr<Fault> DrawKillHost(Random& random, const JobShape& shape) {
  const int host = static_cast<int>(random.Below(shape.hosts));
  std::optional<Duration> down = std::chrono::milliseconds(1 + random.Below(3000));
  if (random.OneIn(4)) down.reset();
  return std::make_unique<KillHost>(host, down);
}

}  // namespace closeranks::simulation
