// A second process of a host's members is started while the first lives: a replacement pod that
// came early, or an index that was given twice.
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/system_world.h"

namespace closeranks::simulation {
namespace {

class StartAgain final : public Fault {
 public:
  explicit StartAgain(int host) : host_(host) {}
  std::string Text() const override { return "starts host " + std::to_string(host_) + " again"; }
  void Begin(SystemWorld& world) override { world.StartHostAgain(host_); }

 private:
  const int host_;
};

}  // namespace

std::unique_ptr<Fault> DrawStartAgain(Random& random, const JobShape& shape) {
  return std::make_unique<StartAgain>(shape.DrawHost(random));
}

}  // namespace closeranks::simulation
