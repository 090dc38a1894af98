// A worker process of a simulated job: the shipping worker and step loop around a toy model.
#ifndef CLOSERANKS_TESTS_SIMULATION_SIMULATED_WORKER_H_
#define CLOSERANKS_TESTS_SIMULATION_SIMULATED_WORKER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/member.h"
#include "base/simulated_files.h"
#include "elastic/step_loop.h"
#include "elastic/toy_replica.h"
#include "elastic/worker.h"
#include "net/simulated_fabric.h"
#include "net/simulated_network.h"
#include "net/simulated_world.h"
#include "net/socket.h"
#include "tests/simulation/simulated_platform.h"
#include "tests/simulation/simulated_thread.h"
#include "tests/simulation/system_checker.h"

namespace closeranks::simulation {

// What the job trains.
struct Workload {
  int samples = 24;
  int batch = 6;
  int epochs = 2;
  int logical_shards = 0;  // 0: fast mode
  uint64_t weights_seed = 1;
  size_t chunk_bytes = 100;         // of the state on its way to who joins
  StepNumber audit_every = 0;       // 0: never
  Duration slowest_part{};          // computing one, at most
  Duration slowest_update{};        // applying one, at most
  StepNumber checkpoint_every = 0;  // 0: there are no checkpoints
  Duration slowest_write{};         // a checkpoint's part, at most
  Duration operation_limit{};
};

// A place in a worker's life at which a fault may strike it.
enum class Point {
  kStarted,
  kJoining,
  kEnteredWorld,
  kBeginsPart,
  kComputing,
  kReduces,
  kApplying,
  kCommitted,
  kSavesState,
  kLoadsState,
  kTrained,
};
inline constexpr int kPoints = 11;
std::string_view PointName(Point point);

// The disk as one process sees it: once it is dead it writes nothing.
class ProcessFiles;
// Writes checkpoints some time later.
class SimulatedBackground;

class SimulatedWorker final : private elastic::StepObserver {
 public:
  struct Surroundings {
    net::SimulatedFabric& fabric;
    SimulatedFiles& disk;
    SystemChecker& checker;
    const Workload& workload;
    size_t members;  // of the job
    // Told of every point that a worker comes to. May kill or stop it.
    std::function<void(SimulatedWorker&, Point)> on_point;
  };

  // Starts to run. `on_exit` is called once, in an event of its own, when it has ended by itself:
  // not when it was killed.
  SimulatedWorker(Surroundings surroundings, std::string host, MemberId member, int start,
                  net::SimulatedNetwork& supervisor, std::function<void(ExitCode)> on_exit);
  ~SimulatedWorker() override;

  // The supervisor's end of its session. Once.
  std::unique_ptr<net::Socket> TakeAgentEnd() { return std::move(agent_end_); }

  MemberId member() const { return member_; }
  const std::string& host() const { return network_.host(); }
  // "worker 2.1": the first start of member 2's worker after the very first.
  const std::string& name() const { return name_; }
  net::SimulatedProcess& process() { return process_; }
  bool is_alive() const { return process_.state() != net::SimulatedProcess::State::kDead; }
  // Of the newest world that it entered with all of its state; null before the first.
  const rendezvous::DecisionRef& entered() const { return entered_; }

  // SIGKILL. Harmless when it is dead. On a simulated thread: this must outlive the next event.
  void Kill();

 private:
  class Model;

  ExitCode Main();
  Status Train();
  void At(Point point);

  void OnWorld(const elastic::ConnectedWorld& world, const Entry& entry) override;
  void OnTransfer(const elastic::ConnectedWorld&, size_t, TimePoint, TimePoint) override {}
  void OnStepBegin(const StepInfo&) override {}
  void OnCommit(const StepInfo& info) override;

  Surroundings surroundings_;
  const MemberId member_;
  const std::string name_;
  net::SimulatedProcess process_;
  net::SimulatedNetwork network_;
  std::unique_ptr<Files> files_;
  SimulatedPlatform platform_;
  std::unique_ptr<net::Socket> agent_end_;
  std::unique_ptr<net::Socket> worker_end_;
  std::unique_ptr<Model> model_;
  elastic::Worker* worker_ = nullptr;  // on the thread's stack
  rendezvous::DecisionRef entered_;
  SimulatedThread thread_;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_SIMULATED_WORKER_H_
