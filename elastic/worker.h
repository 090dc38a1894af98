// A worker's side of the elastic job: it joins, follows the world's changes, and keeps the step
// gate.
//
// The loop's thread does everything that must go on while the training thread computes: it answers
// the agent, shuts and opens the gate, and connects to new peers, so that a new world is ready
// before the training thread asks for it.
#ifndef CLOSERANKS_ELASTIC_WORKER_H_
#define CLOSERANKS_ELASTIC_WORKER_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/member.h"
#include "base/status.h"
#include "collectives/communicator.h"
#include "collectives/engine/engine.h"
#include "elastic/leave_signal.h"
#include "elastic/peer_connections.h"
#include "elastic/platform.h"
#include "elastic/step_gate.h"
#include "net/loop_thread.h"
#include "net/network.h"
#include "rendezvous/worker_session.h"

namespace closeranks::elastic {

class Worker {
 public:
  struct Options {
    bool shared_memory = true;
    bool only_shared_memory = false;
    std::string build;
    std::string kernels;
    Communicator::Options communicator;
    // A supervisor that isn't heard for so long is given up, and the training ends with an error.
    Duration agent_timeout = std::chrono::seconds(30);
    // By which this process is told to leave; outlives the worker. Null: the agent alone tells it.
    const LeaveSignal* leave_signal = nullptr;
    // The training thread is in the program's own code for so long: its stack goes to every rank's
    // log. After each time for twice as long. Zero: never.
    Duration step_timeout{};
    // Told of each new world, on the loop's thread, before the gate opens.
    std::function<void(const ConnectedWorld&)> on_world;
  };

  // Says hello to the agent at the other end of `agent_socket` and waits for its welcome. kTimeout
  // or kUnavailable when none comes. `platform` outlives the worker.
  static Result<std::unique_ptr<Worker>> Start(std::unique_ptr<net::Socket> agent_socket,
                                               Options options, Platform& platform);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  const rendezvous::Welcome& welcome() const { return welcome_; }
  const MemberProcess& process() const { return process_; }
  StepGate& gate() { return gate_; }
  telemetry::FlightRecorder& flight() { return flight_; }

  // Asks to be listed. `configuration` must be equal on every worker. Once. What comes of it shows
  // at the gate.
  Status Join(const std::string& configuration);

  // From any thread.
  void ReportFailure(Generation generation, const Status& why);
  void ReportDone();
  // For nothing where nobody wants to know.
  void ReportProgress(const rendezvous::Progress& progress);

  void ReportEntered(Generation generation);
  // Whether this worker was told to leave: it is to finish its step, hand over and say so.
  bool leaves() const;
  // The others have what it has: it is to be voted out. The gate tells when it was.
  void ReportLeaving();

  // This process is about to end, because of this; `is_final`: no restart mends it. Blocks until
  // it's on its way. The member of this host that failed so for good before, to be pointed to
  // instead of saying the same again; none: this is the first one, or it can't be known.
  std::optional<MemberId> ReportFailing(const std::string& cause, bool is_final);

  // It computes `factor` times as long as the others, which goes to the log of every rank.
  void ReportSlow(StepNumber step, double factor);

  // How the job ended for this worker; kOk while it goes on.
  ExitCode exit_code() const { return exit_code_; }

 private:
  Worker(Options options, Platform& platform);

  Status AwaitWelcome();

  // All on the loop's thread.
  void OnFreeze(const rendezvous::Freeze& freeze);
  void OnInstall(const rendezvous::Install& install);
  void OnConnected(rendezvous::DecisionRef decision, TimePoint decided,
                   Result<std::vector<PeerConnections::SharedTransport>> transports);
  Result<std::shared_ptr<Communicator>> MakeCommunicator(
      const ConnectedWorld& world, std::vector<PeerConnections::SharedTransport> transports);
  void OnEnded(const rendezvous::Ended& ended);
  void WatchLeaveSignal();
  void OnToldToLeave();
  void OnLeave(const rendezvous::Leave& leave);
  void OnPeerLost(const MemberProcess& peer, const Status& why);
  void SendFailure(Generation generation, MemberProcess suspect, const Status& why);
  void WatchTrainingThread();
  // Once it has answered, or after some attempts.
  void TellStack(const std::string& what, int attempts);
  // Nothing once this worker ends.
  void Send(const rendezvous::WorkerMessage& message);

  Options options_;
  Platform& platform_;
  const Clock& clock_;
  MemberProcess process_;
  rendezvous::Welcome welcome_;
  StepGate gate_;
  std::atomic<ExitCode> exit_code_{ExitCode::kOk};
  std::atomic<bool> told_to_leave_{false};

  // Guards welcome_ until Start returns, and the agent's answers.
  std::mutex mutex_;
  const std::unique_ptr<Condition> answered_;
  std::optional<Status> start_;
  std::optional<MemberId> first_to_fail_;

  std::vector<std::unique_ptr<Lifeline>> lifelines_;
  telemetry::FlightRecorder flight_;
  collectives::Engine engine_;

  // Of the loop's thread.
  std::unique_ptr<net::Network> network_;
  std::unique_ptr<rendezvous::Credentials> credentials_;
  std::unique_ptr<rendezvous::WorkerSession> session_;
  std::unique_ptr<PeerConnections> connections_;
  World world_;           // the newest that was opened
  TimePoint detected_{};  // the first sign of a loss since the last world
  bool ended_ = false;    // nothing more will come from the agent
  net::TimerId leave_limit_ = net::kNoTimer;
  pid_t training_thread_ = 0;  // who called Join
  Duration patience_{};        // with the training thread
  TimePoint stuck_since_{};    // of what was told last
  net::TimerId watch_ = net::kNoTimer;

  // Last, so that they go first: the progress thread posts to the loop's, which uses all the rest.
  const std::unique_ptr<net::LoopThread> loop_thread_;
  std::unique_ptr<collectives::ProgressThread> progress_thread_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_WORKER_H_
