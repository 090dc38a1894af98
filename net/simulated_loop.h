// What drives the sockets of one simulated process.
#ifndef CLOSERANKS_NET_SIMULATED_LOOP_H_
#define CLOSERANKS_NET_SIMULATED_LOOP_H_

#include <functional>
#include <map>
#include <memory>

#include "net/loop.h"
#include "net/simulated_fabric.h"
#include "net/simulated_world.h"

namespace closeranks::net {

// Runs by itself as the world does, while its process runs. A ready descriptor is seen after some
// microseconds, drawn for each. Outlived by the fabric and the process.
class SimulatedLoop final : public Loop {
 public:
  SimulatedLoop(SimulatedFabric& fabric, SimulatedProcess& process)
      : fabric_(fabric), process_(process) {}
  ~SimulatedLoop() override;
  SimulatedLoop(const SimulatedLoop&) = delete;
  SimulatedLoop& operator=(const SimulatedLoop&) = delete;

  Status Watch(int descriptor, Interest interest, ReadyCallback callback) override;
  void Modify(int descriptor, Interest interest) override;
  void Unwatch(int descriptor) override;
  // Only from the world's thread, as all else.
  void Post(std::function<void()> function) override;

  TimePoint Now() const override { return process_.Now(); }
  TimerId RunAt(TimePoint when, std::function<void()> callback) override {
    return process_.RunAt(when, std::move(callback));
  }
  void Cancel(TimerId id) override { process_.Cancel(id); }

 private:
  struct Watched {
    Interest interest;
    std::shared_ptr<ReadyCallback> callback;
    SimulatedFabric::ObserverId observer = 0;
    TimerId look = kNoTimer;
  };

  Ready ReadyFor(int descriptor, Interest interest) const;
  // Calls back soon if there is something to call back for.
  void Consider(int descriptor);
  void Look(int descriptor);

  SimulatedFabric& fabric_;
  SimulatedProcess& process_;
  std::map<int, Watched> watched_;  // by descriptor, which no other connection will ever have
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_LOOP_H_
