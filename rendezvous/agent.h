// A member's place in the agreement, with its worker attached: what a supervisor runs for each
// worker.
//
// The agent turns the worker's words and its death into the membership's events, and the
// membership's commands into words to the worker. It outlives its worker: a killed worker costs no
// vote.
#ifndef CLOSERANKS_RENDEZVOUS_AGENT_H_
#define CLOSERANKS_RENDEZVOUS_AGENT_H_

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/member.h"
#include "base/random.h"
#include "net/link.h"
#include "net/timers.h"
#include "rendezvous/membership.h"
#include "rendezvous/session_messages.h"

namespace closeranks::rendezvous {

// Single-threaded: everything on the thread that drives `timers`.
class Agent {
 public:
  struct Options {
    MembershipOptions membership;
    Welcome welcome;  // what each worker of this member is told at its start
    Duration worker_timeout = std::chrono::milliseconds(1000);  // unheard for so long: ended
    // Unheard for so long, and known to be stopped: ended as well.
    Duration stopped_worker_timeout = std::chrono::milliseconds(150);
  };
  // How this member's part ended.
  struct Ending {
    Outcome outcome = Outcome::kEnded;
    ExitCode exit_code = ExitCode::kOk;
    std::string reason;
  };
  struct Owner {
    // Carries a message to another member's agent; may lose it. Must not call back from inside.
    std::function<void(const Envelope&)> send;
    // By what a worker that starts now proves that it belongs to the job.
    std::function<Security()> security;
    // SIGKILL the worker; WorkerReaped follows when it is dead. `heard`: its last sign of life,
    // when it is ended for its silence; else none.
    std::function<void(const std::string& reason, TimePoint heard)> kill_worker;
    // The worker closed its session without a goodbye: it is dying, or else to be ended.
    std::function<void()> on_hung_up;
    std::function<void(const Progress&)> on_progress;  // where Welcome says that it is wanted
    // Once: this member is listed in a generation that goes on, of this lineage. May be null.
    std::function<void(const Incarnation& lineage)> on_listed = nullptr;
    // The worker said who it is.
    std::function<void(const Hello&)> on_hello;
    // It asked to be let into the job.
    std::function<void()> on_ready;
    // Something that hangs up when the worker dies: WorkerDoomed is to follow when it does.
    std::function<void(std::unique_ptr<net::Socket>)> on_lifeline;
    // The worker is about to end because of an error, which it tells. To be answered with the first
    // worker here that failed so for good, or with -1.
    std::function<MemberId(const rendezvous::Failing& failing)> on_failing;
    // The memory of its flight recorder; null where it can't be passed.
    std::function<void(std::unique_ptr<net::Socket>)> on_flight_memory;
    // An operation of the worker took longer than it may.
    std::function<void()> on_timeout;
    // Something about the worker, or why the job holds, that goes to every rank's log.
    std::function<void(const Notice& notice)> on_notice;
    // Another member's supervisor is silent for longer than it ever should be, and was last heard
    // at `heard`. Null: nobody wants to know.
    std::function<void(MemberId peer, TimePoint heard)> on_suspicion = nullptr;
    // Another member's supervisor, which didn't leave, is lost for another reason than its silence.
    // May be null.
    std::function<void(MemberId peer)> on_loss = nullptr;
    // The job holds, for longer than an agreement takes: nothing is trained or recorded. For
    // people, with what is missing, each time that this is something else; empty: it goes on. The
    // worker was told. May be null.
    std::function<void(const std::string& why)> on_hold = nullptr;
    // Whether the worker is stopped, as SIGSTOP does, at this moment. Null: nobody knows.
    std::function<bool()> is_worker_stopped;
    // Whether the worker is dead but for something that may take long, as the dump of its core: it
    // is lost then, WorkerReaped follows. Null: nobody knows.
    std::function<bool()> is_worker_dying = nullptr;
    // Once: this member takes no further part. kEnded: go on running the agent while others may
    // ask.
    std::function<void(const Ending&)> on_outcome;
  };

  // Everything by reference outlives the agent.
  Agent(Options options, net::Timers& timers, Random& random, Owner owner);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // A worker process was started; `link` is this side of the socket that it got. The one before was
  // reaped.
  void AttachWorker(std::unique_ptr<net::Link> link);
  // The worker is dying, for certain: it was sent SIGKILL, if only now, and will not run again.
  // What it still does concerns a generation that the others are about to leave.
  void WorkerDoomed();
  // Takes in what it had still sent, of a worker that is dead.
  void ReadLastWords();
  // The worker is gone, and its last words are read; another may be attached.
  void WorkerReaped();
  // A connection for the worker's data transports; closed when there is no worker to take it, or
  // one that takes too little.
  void PassConnection(MemberId from, std::unique_ptr<net::Socket> connection);
  // This member is to be voted out: no worker will be started again.
  void Leave();
  // The worker is to leave in good order, within `grace`; it says when the member is to be voted
  // out.
  void AskWorkerToLeave(Duration grace);
  // The worker is to say in its log whom the job has lost.
  void TellWorker(const Lost& lost) { SendToWorker(lost); }
  void TellWorker(const Noticed& noticed) { SendToWorker(noticed); }
  // The worker is to end with this code, because of this.
  void EndWorker(ExitCode code, const std::string& reason) {
    SendToWorker(Ended{code, reason, {}});
  }

  void OnPeerMessage(const Message& message);
  void OnPeerLinkUp(const MemberProcess& supervisor);
  void OnPeerLinkDown(const MemberProcess& supervisor);

  const Membership& membership() const { return membership_; }
  MemberId member() const { return options_.membership.self; }
  // The worker is about to end by itself, and is to be left its exit code.
  bool worker_ends() const { return worker_ends_; }
  // The worker was told that the job, or its part in it, is over.
  bool worker_was_told() const { return worker_was_told_; }
  // The worker was gone, or on its way, before it was told. Latched when that is first noticed,
  // however long it then takes to be reaped. False for one that never said hello.
  bool worker_left_early() const { return worker_left_early_; }
  // The worker was told to end, by a signal or by the agent: there is to be no other after it.
  bool worker_leaves() const { return worker_leaves_; }
  // Whether a worker is attached that said hello, and isn't dying.
  bool has_worker() const { return !worker_.IsNone(); }
  // The rank of the attached worker in the newest agreed world, or -1.
  int rank() const;

 private:
  void OnWorkerFrame(const net::FrameHeader& header, std::string_view payload,
                     std::unique_ptr<net::Socket> passed);
  void OnWorkerMessage(const WorkerMessage& message);
  void SendToWorker(const AgentMessage& message, std::unique_ptr<net::Socket> passed = {});
  // Carries out what the membership wants, and sets its timer.
  void Drain();
  void Execute(const WorkerCommand& command);
  void TellListing();
  void WatchHold();
  void TellHold();
  void CheckWorkerIsHeard();
  void HeartbeatToWorker();

  Options options_;
  net::Timers& timers_;
  Owner owner_;
  Membership membership_;
  net::TimerId tick_ = net::kNoTimer;

  std::unique_ptr<net::Link> worker_link_;  // null: no worker
  Incarnation worker_;                      // none until it said hello
  TimePoint worker_heard_{};
  TimePoint suspected_{};  // when it was first found not to be heard for too long; none: it isn't
  bool worker_ends_ = false;  // it was told that nothing more will come, or said goodbye
  bool worker_was_told_ = false;
  bool worker_left_early_ = false;
  bool worker_leaves_ = false;
  net::TimerId worker_check_ = net::kNoTimer;
  net::TimerId worker_heartbeat_ = net::kNoTimer;
  net::TimerId hold_ = net::kNoTimer;  // until it is told
  std::string told_hold_;              // what it waits for, as was told last; empty: it doesn't
  bool listing_is_told_ = false;
  bool voting_is_told_ = false;  // of a witness, of which nothing else is heard
  std::string last_reason_;      // what it waited for or did, before its part ended
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_AGENT_H_
