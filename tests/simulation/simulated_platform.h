// The machine that a simulated worker runs on: virtual threads, time and network under the shipping
// elastic/ and collectives/.
#ifndef CLOSERANKS_TESTS_SIMULATION_SIMULATED_PLATFORM_H_
#define CLOSERANKS_TESTS_SIMULATION_SIMULATED_PLATFORM_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "elastic/platform.h"
#include "net/simulated_fabric.h"
#include "net/simulated_loop.h"
#include "net/simulated_network.h"
#include "net/simulated_world.h"
#include "tests/simulation/simulated_thread.h"

namespace closeranks::simulation {

// Runs on the world's events; what waits for it are SimulatedThreads.
class SimulatedLoopThread final : public net::LoopThread {
 public:
  SimulatedLoopThread(net::SimulatedFabric& fabric, net::SimulatedProcess& process)
      : process_(process), loop_(fabric, process) {}

  net::Loop& loop() override { return loop_; }
  bool OnLoop() const override { return SimulatedThread::Current() == nullptr; }
  void RunInLoop(std::function<void()> function) override { loop_.Post(std::move(function)); }

 private:
  void RunAndBlock(const std::function<void()>& function) override;

  net::SimulatedProcess& process_;
  net::SimulatedLoop loop_;
};

// Of one engine. While no thread sleeps in it, it drives the engine, as a progress thread would.
class SimulatedWatch final : public collectives::DescriptorWatch {
 public:
  SimulatedWatch(net::SimulatedFabric& fabric, net::SimulatedProcess& process)
      : fabric_(fabric), process_(process) {}
  ~SimulatedWatch() override;

  // The one that it belongs to.
  void set_engine(collectives::Engine& engine) { engine_ = &engine; }

  Status Add(int descriptor, void* owner) override;
  void WatchWriting(int descriptor, void* owner, bool writing) override;
  void Remove(int descriptor) override;
  size_t Ready(std::span<void*> owners) override;
  void Sleep(TimePoint until) override;
  void Wake() override;
  void ClearWake() override { is_woken_ = false; }

 private:
  struct Watched {
    void* owner;
    bool writing;
    net::SimulatedFabric::ObserverId observer;
  };

  bool IsReady(int descriptor, const Watched& watched) const;
  void OnChange();
  void PollSoon();

  net::SimulatedFabric& fabric_;
  net::SimulatedProcess& process_;
  collectives::Engine* engine_ = nullptr;
  std::map<int, Watched> watched_;
  SimulatedThread* sleeper_ = nullptr;
  bool is_woken_ = false;
  net::TimerId poll_ = net::kNoTimer;
};

class SimulatedPlatform final : public elastic::Platform {
 public:
  // All by reference outlives it.
  SimulatedPlatform(net::SimulatedFabric& fabric, net::SimulatedProcess& process, Files& files,
                    std::string host, uint64_t seed)
      : fabric_(fabric),
        process_(process),
        files_(files),
        host_(std::move(host)),
        clock_(process),
        random_(seed) {}

  const Clock& clock() const override { return clock_; }
  Random& random() override { return random_; }
  Files& files() override { return files_; }
  std::unique_ptr<Condition> MakeCondition() override {
    return std::make_unique<SimulatedCondition>(process_);
  }
  std::unique_ptr<net::LoopThread> StartLoopThread(const std::string&) override {
    return std::make_unique<SimulatedLoopThread>(fabric_, process_);
  }
  std::unique_ptr<net::Background> StartBackground(const std::string&, Duration) override {
    return nullptr;
  }
  std::unique_ptr<net::Network> MakeNetwork(net::Loop&) override {
    return std::make_unique<net::SimulatedNetwork>(fabric_, process_, host_);
  }
  std::string host() const override { return host_; }
  std::unique_ptr<collectives::DescriptorWatch> MakeDescriptorWatch() override;
  // The watch made last drives its engine, which this is to be.
  std::unique_ptr<collectives::ProgressThread> StartProgressThread(
      collectives::Engine& engine) override;
  std::vector<std::unique_ptr<elastic::Lifeline>> MakeLifelines() override { return {}; }
  telemetry::FlightRecorder::Kind flight_kind() const override {
    return telemetry::FlightRecorder::Kind::kPrivate;
  }
  // Time stands still while a thread polls, so it sleeps at once.
  Duration spin() const override { return Duration::zero(); }

 private:
  net::SimulatedFabric& fabric_;
  net::SimulatedProcess& process_;
  Files& files_;
  const std::string host_;
  ProcessClock clock_;
  SeededRandom random_;
  SimulatedWatch* newest_watch_ = nullptr;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_SIMULATED_PLATFORM_H_
