// A supervisor process of a simulated job, with its workers: the shipping agents, and around them
// what a launcher does.
#ifndef CLOSERANKS_TESTS_SIMULATION_SIMULATED_SUPERVISOR_H_
#define CLOSERANKS_TESTS_SIMULATION_SIMULATED_SUPERVISOR_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/random.h"
#include "net/simulated_loop.h"
#include "net/simulated_network.h"
#include "rendezvous/agent_host.h"
#include "rendezvous/credentials.h"
#include "tests/simulation/simulated_worker.h"

namespace closeranks::simulation {

class SimulatedSupervisor {
 public:
  // `start` counts the supervisors of this host from 0. `options` has all but what follows from
  // this being a simulation.
  SimulatedSupervisor(SimulatedWorker::Surroundings surroundings, std::string host, int start,
                      rendezvous::AgentHost::Options options);
  // Kills what is alive.
  ~SimulatedSupervisor();

  const std::string& host() const { return network_.host(); }
  net::SimulatedProcess& process() { return process_; }
  // Some worker of it was ever in an agreed world.
  bool has_started() const { return agents_->has_started(); }
  bool is_alive() const { return process_.state() != net::SimulatedProcess::State::kDead; }
  // Every member's part has ended, and the others know what they may have to know.
  bool has_ended() const { return has_ended_; }
  // How the members' parts ended, once has_ended().
  std::vector<ExitCode> exit_codes() const;
  // Null when none runs.
  SimulatedWorker* worker(MemberId member);
  const std::vector<MemberId>& members() const { return members_; }

  // SIGKILL, of its workers too: what the loss of a pod is.
  void Kill();
  // SIGTERM to a worker: it has so much time to leave.
  void TellToLeave(MemberId member, Duration grace);
  // Its worker was killed by somebody else: it is reaped after a moment.
  void OnWorkerKilled(MemberId member);

 private:
  struct Slot {
    std::unique_ptr<SimulatedWorker> worker;
    int starts = 0;
    bool finished = false;
    std::optional<ExitCode> ending;
    ExitCode exit_code = ExitCode::kOk;
  };

  rendezvous::Agent::Owner OwnerOf(MemberId member);
  void StartWorker(MemberId member);
  void KillWorker(MemberId member);
  void OnExit(MemberId member, int start, std::optional<ExitCode> code);
  void OnEnding(MemberId member, const rendezvous::Agent::Ending& ending);
  void FinishWhenDone();

  SimulatedWorker::Surroundings surroundings_;
  const int start_;
  const std::vector<MemberId> members_;
  net::SimulatedProcess process_;
  net::SimulatedNetwork network_;
  net::SimulatedLoop loop_;
  SeededRandom random_;
  std::map<MemberId, Slot> slots_;
  std::unique_ptr<rendezvous::Credentials> credentials_;
  std::unique_ptr<rendezvous::AgentHost> agents_;
  bool job_ended_ = false;
  bool is_finishing_ = false;
  bool has_ended_ = false;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_SIMULATED_SUPERVISOR_H_
