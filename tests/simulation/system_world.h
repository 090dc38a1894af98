// A whole job in virtual time: supervisors and workers that run the shipping rendezvous/, elastic/
// and collectives/ over simulated sockets, threads and disk, and faults that strike them.
// Everything follows from one seed.
#ifndef CLOSERANKS_TESTS_SIMULATION_SYSTEM_WORLD_H_
#define CLOSERANKS_TESTS_SIMULATION_SYSTEM_WORLD_H_

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/simulated_files.h"
#include "net/simulated_fabric.h"
#include "net/simulated_world.h"
#include "tests/simulation/faults/fault.h"
#include "tests/simulation/simulated_supervisor.h"
#include "tests/simulation/simulated_worker.h"
#include "tests/simulation/system_checker.h"

namespace closeranks::simulation {

class SystemWorld {
 public:
  struct Options {
    uint64_t seed = 0;
    bool trace = false;
    // Only these faults of the seed's schedule, by their number; all where there is none.
    std::optional<std::set<int>> only_faults;
  };
  struct Result {
    std::string violation;            // empty: none
    std::vector<std::string> faults;  // the whole schedule, in words
    size_t struck = 0;                // so many of them came to it
    Duration took{};                  // of virtual time
    size_t events = 0;
    size_t generations = 0;
    size_t steps = 0;
    bool is_trained = false;  // somebody came to the end of the run
  };

  explicit SystemWorld(Options options);
  ~SystemWorld();
  Result Run();

  // --- for faults ---
  net::SimulatedFabric& fabric() { return fabric_; }
  SimulatedFiles& disk() { return disk_; }
  const JobShape& shape() const { return shape_; }
  // Null while it is down.
  SimulatedSupervisor* supervisor(int host);
  SimulatedWorker* worker(MemberId member);
  std::string HostName(int host) const;
  // Kills a worker as if by somebody else.
  void KillWorker(MemberId member);
  // The host's supervisor and workers die; others start in their place after `down`, if ever.
  void KillHost(int host, std::optional<Duration> down);
  // Another process of this host's members starts, elsewhere, while the one before it lives: it is
  // the one that other faults strike from now on.
  void StartHostAgain(int host);
  // Runs `strike` when member's worker comes to `point` for the `nth` time from now on, from 1.
  void StrikeAt(MemberId member, Point point, int nth,
                std::function<void(SimulatedWorker&)> strike);
  void Trace(const std::string& what);

 private:
  struct Host {
    std::unique_ptr<SimulatedSupervisor> supervisor;          // the newest
    std::vector<std::unique_ptr<SimulatedSupervisor>> older;  // that live, or are to be found dead
    int starts = 0;
    bool is_over = false;  // its part in the job has ended
    std::vector<ExitCode> exit_codes;
  };
  struct Scheduled {
    Duration begin;  // of kOneAtATime: from where all are together again
    Duration length;
    std::unique_ptr<Fault> fault;
  };
  struct Strike {
    MemberId member;
    Point point;
    int left;
    std::function<void(SimulatedWorker&)> action;
  };

  void DrawJob();
  void DrawFaults();
  void ScheduleFaults();
  bool IsChosen(int fault) const;
  void Begin(Scheduled& scheduled, std::function<void()> then);
  // Of kOneAtATime: the next one, once all are together.
  void StrikeNext();
  // Every member's worker has entered the same world, which has all voters.
  bool IsWhole();
  void StartHost(int host);
  // Where no other process listens.
  std::string FreeName(int host) const;
  void EndFaults();
  void Continue(SimulatedSupervisor& supervisor);
  // Every host's part has ended. Then, where there are checkpoints and the run isn't trained to its
  // end, all hosts start again.
  bool IsOver();
  void StartAllHosts();
  void OnPoint(SimulatedWorker& worker, Point point);
  void Judge();
  uint64_t UndisturbedWeights() const;

  const Options options_;
  net::SimulatedWorld world_;
  net::SimulatedFabric fabric_;
  SimulatedFiles disk_;
  SystemChecker checker_;
  JobShape shape_;
  Workload workload_;
  std::vector<Scheduled> schedule_;
  size_t struck_ = 0;
  size_t next_fault_ = 0;  // these two: of kOneAtATime
  bool awaits_whole_ = false;
  int lives_ = 0;  // of the whole job
  std::vector<Strike> strikes_;
  std::vector<Host> hosts_;
  // Replaced ones, until nothing of them is on the stack.
  std::vector<std::unique_ptr<SimulatedSupervisor>> dead_;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_SYSTEM_WORLD_H_
