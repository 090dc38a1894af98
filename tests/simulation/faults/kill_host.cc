// A whole host goes at once and comes back: the loss of a pod.
#include <chrono>

#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class KillHost final : public Fault {
 public:
  KillHost(int host, Duration down) : host_(host), down_(down) {}
  std::string Text() const override { return "kills host " + std::to_string(host_); }
  void Begin(SystemWorld& world) override { world.KillHost(host_, down_); }

 private:
  const int host_;
  const Duration down_;
};

}  // namespace

std::unique_ptr<Fault> DrawKillHost(Random& random, const JobShape& shape) {
  const int host = static_cast<int>(random.Below(shape.hosts));
  return std::make_unique<KillHost>(host, std::chrono::milliseconds(1 + random.Below(3000)));
}

}  // namespace closeranks::simulation
