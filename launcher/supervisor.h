// The supervisor: starts the workers of this host, keeps their votes, starts crashed ones again,
// and ends with the worst of their exit codes. PID 1 of a pod, or what `closeranks run` is.
#ifndef CLOSERANKS_LAUNCHER_SUPERVISOR_H_
#define CLOSERANKS_LAUNCHER_SUPERVISOR_H_

#include <sys/resource.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/random.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "launcher/child_process.h"
#include "launcher/fault.h"
#include "launcher/live_line.h"
#include "launcher/oom_watch.h"
#include "launcher/output.h"
#include "launcher/poison_watch.h"
#include "launcher/restart_policy.h"
#include "net/address.h"
#include "net/background.h"
#include "net/event_loop.h"
#include "net/socket_network.h"
#include "rendezvous/agent_host.h"
#include "telemetry/event_log.h"
#include "telemetry/records.h"

namespace closeranks::launcher {

// Single-threaded. The calling thread's SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 and
// SIGHUP (unless ignored) are taken over while Run is in progress, and SIGCHLD isn't ignored any
// more. From then on this process ignores SIGPIPE: the run goes on when nobody reads its output any
// more, and when who reads it stands still. Once it is over, SIGTERM, SIGUSR1 and SIGUSR2 are
// ignored too: the process is to end with its exit code.
//
// What a worker writes goes to the stream of the same name here, each line after its member's
// number in brackets, which is the RANK that it was started with.
class Supervisor {
 public:
  struct Options {
    std::vector<std::string> command;     // of a witness: none
    rendezvous::AgentHost::Options host;  // its credentials are filled in
    int most_workers = 1;                 // that the whole job may have, spares too
    rendezvous::Security security;
    RestartPolicy::Options restarts;
    std::optional<Fault> fault;
    std::string report_folder;  // empty: no events are written
    bool keep_ledgers = false;  // of the run's earlier starts
    bool live_line = false;
    // From asking a worker to leave, or from the end of its member's part, to SIGKILL.
    Duration grace = std::chrono::seconds(10);
    // Others may ask for the job's end for so long.
    Duration linger = std::chrono::seconds(5);
  };

  // `files` is for the life of the process: a disk that hangs at the end is left behind.
  Supervisor(Options options, const Clock& clock, Random& random, Files& files);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Until every worker has ended for good. The exit code of the highest severity in the exit-code
  // table, or why nothing could be started.
  Result<int> Run();

 private:
  // A member. That of a witness never has a worker.
  struct Slot {
    Slot(MemberId m, const RestartPolicy::Options& restarts) : member(m), policy(restarts) {}

    MemberId member;
    RestartPolicy policy;
    std::unique_ptr<ChildProcess> child;  // null: not running
    Incarnation incarnation;              // of the worker, once it said hello
    bool asked_in = false;                // the worker asked to be let into the job
    // Of the running worker.
    std::vector<std::unique_ptr<net::Socket>> lifelines;
    UniqueFd flight;           // its flight recorder's memory
    std::string ended_for;     // why it was ended from here, or empty
    std::string cause;         // what the other workers were told of its loss, or empty
    std::string last_line;     // that it wrote to stderr, but for a stack
    TimePoint lost_at{};       // it was ended, or seen to be dying; none: it runs
    TimePoint heard_at{};      // last, if it was ended for its silence
    bool is_recorded = false;  // flight records were copied when it was seen to be lost
    net::TimerId restart = net::kNoTimer;
    std::optional<ExitCode> ending;  // of the member, whatever its worker still does
    bool finished = false;
    // The worker ended well without ever asking to be let in: it printed its help, for instance.
    bool never_joined = false;
    int exit_code = 0;
  };

  // For what flight records are written. Each kind is limited by itself: what follows from one and
  // the same cause comes at nearly the same time, and writes them once.
  enum class Incident { kAsked, kLostWorker, kLostHost, kStuck, kTimeout };
  struct Copied {
    TimePoint when{};
    Generation world = 0;
  };

  Status Prepare();
  rendezvous::Agent::Owner OwnerOf(MemberId member);
  // Errors are those that trying again can't mend.
  Status StartWorker(Slot& slot);
  // One attempt. Whether the program can be executed shows later.
  Status LaunchWorker(Slot& slot);
  // What was missing for the start may be there again later: it is tried again, or `started` is
  // what this returns.
  Status TryAgainIfShort(Slot& slot, Status started);
  void OnNotExecuted(Slot& slot, const Status& why);
  // For good.
  void GiveUpWorker(Slot& slot, const Status& why);
  // Where others reach the supervisor of member 0, if that is known before it is met.
  std::optional<net::Address> FirstHost() const;
  void StartLater(Slot& slot, Duration delay);
  void OnSignal();
  // Those that nobody has looked at yet never came.
  void DropSignals();
  void PassOnCheckpointSignal();
  void ReapAll();
  // It is dead, but not reaped yet. Fills in what the exit status doesn't tell.
  void OnDead(Slot& slot, ExitResult* result);
  void OnExit(Slot& slot, ExitResult result);
  // What is still to be written is, and what was said meanwhile is told.
  void AwaitRecords();
  // The ledgers that an earlier start has left in the report folder are of this lineage, or go.
  void OnListed(const Incarnation& lineage);
  void OnProgress(const rendezvous::Progress& progress);
  void OnSuspicion(MemberId member, MemberId peer, TimePoint heard);
  void OnEnding(MemberId member, const rendezvous::Agent::Ending& ending);
  void OnMismatch(const Status& mismatch);
  // The other workers' logs are to say why this one was lost. The first cause counts.
  // `by_itself`: by what its program did.
  void TellLoss(Slot& slot, const std::string& cause, bool by_itself, rendezvous::OnThisHost here);
  // Whether the worker, which is dying, may be the second one that fails on the same samples.
  bool MayBePoison(const Slot& dying) const;
  // Ends the run where a worker, maybe another host's, failed on what another one had failed on.
  void OnFailedPart(const MemberProcess& worker, const BatchPart& part);
  MemberId OnFailing(Slot& slot, const rendezvous::Failing& failing);
  // Whether a worker that ends now is lost: nobody told it to.
  bool EndsEarly(const Slot& slot) const;
  // Of a worker that ended by itself.
  static std::string CauseOf(const Slot& slot, const ExitResult& result);
  // The member takes no further part: its worker ends by itself within the grace period, or is
  // ended.
  void EndMember(Slot& slot, ExitCode code);
  // Unless it ends by itself within the grace period.
  void EndLater(Slot& slot);
  // At once.
  void EndWorker(Slot& slot, const std::string& reason, TimePoint heard = {});
  // It is dying, or hung up and is to.
  void FinishOff(Slot& slot);
  // The others go on without it, unless it was reaped meanwhile.
  void GiveUpDying(Slot& slot, pid_t pid);
  // The first world needs everyone: ends the rest, who wait for nothing. `why` is said of `gone`.
  void GiveUpStart(const Slot& gone, const std::string& why);
  // Gives the start up once somebody waits for those who never joined.
  void CheckStart();
  // Says goodbye to other supervisors, once all workers have ended: what is still in the job is
  // voted out.
  void HangUp();
  // From time to time, as long as the run goes on.
  void LookForOldKills();
  void OnLifeline(Slot& slot, std::unique_ptr<net::Socket> lifeline);
  void DropLifelines(Slot& slot);
  void OnNotice(Slot& slot, const rendezvous::Notice& notice);
  // Says it once for all members of this host.
  void OnHold(const std::string& why);
  // Writes the flight records of all workers of this host, as they are now, into the report folder.
  void DumpFlights(Incident incident, const std::string& why);
  // The same, as they are now, but written once there is time: the survivors come first.
  void DumpFlightsLater(Incident incident, const std::string& why);
  // The same for a worker that is lost, when that is first seen: soon the others go on without it.
  // `why` may be empty: nobody is told.
  void DumpFlightsOfLoss(Slot& slot, const std::string& why);
  // Its own, of one that is gone.
  void DumpFlightLater(Slot& slot);
  // False: they have just been copied for the same, or there is no folder.
  bool CopyFlights(Incident incident, const std::string& why);
  // That a member of this host knows.
  Generation NewestGeneration() const;
  void CopyFlight(const Slot& slot);
  void WriteFlightsLater();
  void WriteFlights();
  void InjectFault();
  // What to say when not all who were to be killed were; else empty.
  std::string MissedKills() const;
  // SIGTERM and the first SIGINT: every worker leaves in good order, within the grace period.
  // Otherwise the workers get the signal.
  void StopAll(int signal);
  void AskToLeave(Slot& slot, int signal);
  void Print(Output& to, MemberId member, const std::string& line);
  // A line of this process's own log.
  void PrintLog(const std::string& line);
  bool CanStillStart() const { return !stopping_ && !job_ended_ && !host_->has_started(); }
  // Of two exit codes, the one of the higher severity.
  static int Worse(int a, int b);
  // `early`: it was gone before the job's end.
  int FinalCode(const Slot& slot, const ExitResult& result, bool early) const;
  bool AllFinished() const;

  Options options_;
  const Clock& clock_;
  Files& files_;
  // Whoever waits for a disk is taken for dead: from the start of the run on only this one touches
  // the report folder. Null without one.
  std::unique_ptr<net::Background> records_disk_;
  net::EventLoop loop_;
  net::SocketNetwork network_{loop_};
  Random& random_;
  const std::thread::id thread_ = std::this_thread::get_id();
  Output out_;
  Output error_;
  LiveLine live_;
  telemetry::ReportFolder report_;  // nobody else removes or writes what this run does
  bool was_listed_ = false;         // some member of this host
  std::unique_ptr<telemetry::EventLog> events_;
  std::unique_ptr<rendezvous::Credentials> credentials_;
  std::unique_ptr<rendezvous::AgentHost> host_;
  std::map<MemberId, Slot> slots_;
  rlimit worker_open_files_{};  // the limit that this process was started with
  UniqueFd signals_;
  std::optional<FaultAim> aim_;
  size_t kills_ = 0;
  Status not_executed_;  // the program, before the job had begun: there is nothing to run
  bool stopping_ = false;
  bool job_ended_ = false;
  OomWatch oom_watch_{files_};
  PoisonWatch poison_watch_;
  bool is_poisoned_ = false;  // all members here end for it
  std::set<std::string> told_endings_;
  std::map<MemberId, TimePoint> suspicions_told_;    // by the first member of a host, the last
  std::map<std::string, MemberId> failed_for_good_;  // by the cause, the first
  std::string hold_;  // why the job holds, as was said last; empty: it doesn't
  // A flight record to be written: the memory, and what of it was copied in time.
  struct Flight {
    std::shared_ptr<const UniqueFd> memory;
    std::string newest;
  };
  std::map<MemberProcess, Flight> flights_;
  std::string flights_why_;  // empty: nobody is told of them
  net::TimerId write_flights_ = net::kNoTimer;
  std::map<Incident, Copied> flights_copied_;
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_SUPERVISOR_H_
