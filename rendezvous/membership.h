// Agreement on generations: who is in the job. docs/design.md, "Membership: no privileged pod", has
// the rules; every agent (the supervisor of a worker) runs one Membership for each member it
// supervises.
//
// A pure state machine: an event and the time go in; messages to other agents, commands to the own
// worker and the next deadline come out. It has no sockets, threads or clocks. Call it from one
// thread. After every event take the outputs, and call OnTick() when next_deadline() has come.
// `now` must not go backwards; it may jump.
//
// What the owner must keep to:
// - One Membership for a drawn supervisor incarnation; a new process draws a new one. Its memory
//   is its vote, and a copy of it from before a restart must not vote.
// - OnWorkerGone only for a process that was reaped (or was never started): it is certain.
// - OnWorkerFrozen only when the worker applies and acknowledges nothing until its next Install.
// - A message is handed to OnMessage only if its `from` is who the link's handshake proved.
//
// Safety is CHECKed: a failed CHECK here is a bug here, never a fault of the network or of a peer.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_H_

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/random.h"
#include "base/status.h"
#include "rendezvous/decision.h"
#include "rendezvous/failure_detector.h"
#include "rendezvous/membership_acceptor.h"
#include "rendezvous/membership_peers.h"
#include "rendezvous/membership_proposer.h"
#include "rendezvous/membership_tally.h"
#include "rendezvous/messages.h"

namespace closeranks::rendezvous {

struct MembershipOptions {
  MemberId self = -1;
  Incarnation supervisor;
  // Generation 1 is made by members 0 .. starting_members - 1, all of them.
  int starting_members = 1;
  bool witness = false;  // votes, and never has a worker
  // When this process began, since 1970 by its host's clock: of two of one member the later one
  // stays.
  Duration started{};
  // A generation of fewer hosts than these (witnesses aside) is agreed on as any other, so that the
  // votes stay with those who are left, but its workers stay stopped until somebody comes, or
  // quorum_timeout. As nothing but an Install is held back, which may be late at any time, no rule
  // of the agreement rests on it; that nothing is recorded meanwhile does. The same everywhere; at
  // most the hosts of the starting members.
  int least_hosts = 1;
  // So many of those that seem alive, spread over all (watch_order.h), watch everybody, and are
  // watched by everybody; of these one proposes. A world of no more members is a full mesh. At
  // least 1; the same everywhere.
  int watchers = 8;

  // The defaults are for one host.
  Duration heartbeat_interval = std::chrono::milliseconds(150);  // of a small world
  // Unheard for longer than between these, by how evenly it was heard before (failure_detector.h):
  // unreachable.
  Duration least_patience = std::chrono::milliseconds(1000);
  Duration most_patience = std::chrono::milliseconds(4000);
  // A proposer's wait for who seems alive.
  Duration answer_timeout = std::chrono::milliseconds(400);
  // Of what a ballot lacks an answer to.
  Duration resend_interval = std::chrono::milliseconds(50);
  // For each place behind the proposer.
  Duration takeover_delay = std::chrono::milliseconds(200);
  // So that joiners come in one generation.
  Duration join_settle = std::chrono::milliseconds(50);
  // Then a worker that doesn't freeze is killed. It first ends the update that it is in, for which
  // everybody waits; shorter than quorum_timeout.
  Duration freeze_timeout = std::chrono::seconds(30);
  // Held for so long: quorum lost.
  Duration quorum_timeout = std::chrono::seconds(60);
  // Not listed for so long.
  Duration join_timeout = std::chrono::seconds(300);

  static MembershipOptions BetweenPods();
  // In a world of so many: a watcher, which hears everybody, is to have bounded work with that.
  Duration HeartbeatInterval(size_t members) const;
  FailureDetector::Bounds Patience(size_t members) const;
};

struct Envelope {
  MemberId to = -1;
  Message message;  // message.to is the supervisor it is meant for, where that is known
};

struct WorkerCommand {
  enum class Kind {
    kFreeze,   // stop applying and acknowledging for good; answer with OnWorkerFrozen
    kInstall,  // enter `decision`'s world; what that needs is decision->NeededBy(state)
    kKill,     // it did not freeze in time: kill and reap it, then OnWorkerGone
  };
  Kind kind = Kind::kFreeze;
  Incarnation worker;         // the worker it is meant for
  Generation generation = 0;  // kFreeze, kKill: the one being prepared
  DecisionRef decision;       // kInstall
};

// What the whole agent does next, given once. After it the Membership answers nothing, unless it
// follows from a decision that ends the job: that is told to others for as long as this lives.
enum class Outcome {
  kReplaced,      // another process of this member is listed
  kQuorumLost,    // held for quorum_timeout: start again from the checkpoint
  kStateLost,     // the job's end is decided: no worker that holds its history is left
  kJoinTimedOut,  // the start lacked somebody, or nobody let this one in
  kLeft,          // the generation without this member, which leaves, is installed, or all leave
  kMismatched,    // the end is decided: the workers differ, as Decision::mismatch says
  kEnded,         // the end is decided: the job's work is done
};
std::string_view OutcomeName(Outcome outcome);

// A listed supervisor counts as unreachable from now on, for its silence alone.
struct Suspicion {
  MemberProcess supervisor;
  TimePoint heard;  // last
};

struct MembershipOutputs {
  std::vector<Envelope> messages;
  std::vector<WorkerCommand> commands;
  std::vector<Suspicion> suspicions;  // for people
  // Of listed supervisors that don't leave, but for suspicions: the link to it closed, or the
  // others have gone on without it. Who is no watcher doesn't know of all. For people.
  std::vector<MemberProcess> losses;
  std::optional<Outcome> outcome;
};

class Membership {
 public:
  enum class Phase {
    kStarting,   // no decision yet, or not listed in the newest one
    kInstalled,  // listed, the generation is installed, and nothing asks for another
    kProposing,  // another generation is needed or being made
    kHeld,  // it is needed, and a quorum or a holder of the history is out of reach; or there are
            // fewer than least_hosts
    kOver,  // there was an Outcome
  };

  // `random` only spreads retries and names lineages; it must outlive this.
  Membership(const MembershipOptions& options, Random& random, TimePoint now);

  // A started worker wants in. `state`: where it would go on from; none for a joiner with nothing
  // to show. `card` has at most kMaxCardBytes, `terms` kMaxTermsBytes.
  void OnWorkerReady(TimePoint now, Incarnation worker, std::string card, Terms terms,
                     std::optional<WorkerState> state);
  // It was reaped. Ignored when `worker` is not the current one.
  void OnWorkerGone(TimePoint now, Incarnation worker);
  // The answer to kFreeze for the generation `prepared`. `state` none: it was in the middle of a
  // transfer.
  void OnWorkerFrozen(TimePoint now, Incarnation worker, Generation prepared,
                      std::optional<WorkerState> state);
  // The worker's link to `broken` failed in `generation`: asks for a new generation.
  void OnWorkerReport(TimePoint now, Generation generation, MemberProcess broken);
  // The worker has the resume step of the generation that it was told to install, and steps on:
  // whoever leaves can hand over to it.
  void OnWorkerEntered(TimePoint now, Incarnation worker, Generation generation);
  // The worker applied the last step of the job in its installed generation. To be repeated after
  // the next Install, if there is one.
  void OnWorkerDone(TimePoint now, Incarnation worker);
  // This member wants to be voted out (it was told to terminate).
  void OnLeaving(TimePoint now);
  // Hints from the network. Down means that the link to it closed; it counts as unreachable until
  // it is heard again. `supervisor` is who the handshake proved.
  void OnPeerLinkUp(TimePoint now, MemberProcess supervisor);
  void OnPeerLinkDown(TimePoint now, MemberProcess supervisor);
  void OnMessage(TimePoint now, const Message& message);
  void OnTick(TimePoint now);

  MembershipOutputs TakeOutputs();
  // When OnTick is due; kNever after most outcomes.
  TimePoint next_deadline() const { return next_deadline_; }

  // The newest decision that is known, installed or not; null before the first.
  const DecisionRef& decision() const { return decision_; }
  // A quorum of decision()'s own voters has stored it.
  bool installed() const { return installed_; }
  // The generation that the worker was last told to install; 0: none.
  Generation worker_generation() const { return worker_.told_to_install; }
  Phase phase() const { return phase_; }
  // Why it proposes, holds or waits, for logs and for people; empty when installed.
  const std::string& reason() const { return reason_; }
  // It holds for what its own ballots came to: of that the others know nothing.
  bool only_proposer_knows() const { return only_proposer_knows_; }
  const MembershipOptions& options() const { return options_; }
  // The worker applied the job's last step.
  bool worker_is_done() const { return worker_.done; }
  // It wants to be voted out, and isn't yet.
  bool is_leaving() const { return leaving_ && !outcome_.has_value(); }
  // Of any peer that was heard again before it was suspected.
  Duration longest_silence() const { return peers_.longest_silence(); }

 private:
  struct Worker {
    enum class Phase { kNone, kStopped, kRunning, kFreezing };
    Phase phase = Phase::kNone;
    Incarnation incarnation;
    std::string card;
    Terms terms;
    std::optional<WorkerState> state;  // while stopped
    Generation told_to_install = 0;
    Generation freezing_for = 0;
    Generation entered = 0;
    bool done = false;
    bool told_to_die = false;
    TimePoint freezes_long = kNever;  // from then on
    TimePoint freeze_deadline = kNever;
  };
  struct PendingPrepare {
    MemberProcess proposer;
    PrepareMessage prepare;
  };
  // Why a new generation is needed. `settle`: only because of somebody who wants in, so that it may
  // wait for others who do.
  struct Need {
    std::string reason;
    bool settle = false;
  };
  // A link between two workers that is reported so often, each time within the memory of the last,
  // and is to be used again each time, counts as cut: making the same generation again doesn't mend
  // it. Where the other end was lost, nothing is wrong with the link.
  static constexpr int kTimesUntilCut = 3;
  static constexpr Duration kBrokenLinkMemory = std::chrono::seconds(30);
  // Who was voted out is let in again without waiting for others once in this time.
  static constexpr Duration kBetweenReturns = std::chrono::seconds(30);
  struct BrokenLink {
    MemberProcess to;  // the worker
    int times = 0;
    TimePoint last{};
  };

  // membership.cc: from an event to a settled state.
  void Begin(TimePoint now);
  void Settle();
  void CheckTimeouts();
  void DescribePhase();
  void SetDeadline();
  void Finish(Outcome outcome);
  bool IsOver() const { return outcome_.has_value() && !end_is_decided_; }

  // membership_learner.cc: what is known, stored and installed, and telling others.
  void Handle(const Message& message);
  bool IsOfThisGeneration(const Message& message);
  void Learn(const DecisionRef& decision, const std::set<MemberProcess>& announce_to);
  void NoteLoss(const MemberProcess& supervisor);
  void NoteLosses(const Decision& next);
  void NoteVotedOut(const Decision& next);
  void NoteBrokenLink(const Decision& next);
  void ForgetOlderGeneration();
  void UpdateInstalled();
  void InstallWorker();
  void TellNewest(const MemberProcess& to);
  void Send(const MemberProcess& to, MessageBody body);
  MemberProcess self() const { return {options_.self, options_.supervisor}; }
  const ListedMember* SelfListed() const;
  bool SelfVotes() const;

  // membership_watch.cc: who watches whom, what was heard of them, and telling them.
  void UpdateCircle();
  bool SeemsGone(const ListedMember& listed) const;
  void Reassess(MemberId member);
  void ReassessExpired();
  void NoteSelf();
  static Tally::Facts FactsOf(const ListedMember& listed, const AgentReport& report);
  bool NoteSender(const Message& message);
  bool NoteStatus(const Message& message, const StatusMessage& status);
  AgentReport ReportSelf() const;  // but for whom it lacks
  bool IsThere(const MemberProcess& worker) const;
  std::vector<MemberId> Lacks() const;
  std::vector<MemberId> LacksOf(MemberId listed) const;
  void SendStatusWhenDue();
  void SendStatusTo(const MemberProcess& to);
  void SendNews();
  void SendHeartbeat();
  void AddOthersInTurn(std::set<MemberProcess>& to);
  void SendInstalled();

  // membership_voter.cc: answers to ballots, and the worker's freezing before them.
  void HandlePrepare(const Message& message, const PrepareMessage& prepare);
  void HandleAccept(const Message& message, const AcceptMessage& accept);
  bool MayPropose(const Message& message, const PrepareMessage& prepare) const;
  void FreezeWorker(Generation generation);
  void AnswerPending();

  // membership_need.cc: whether another generation is needed.
  void UpdateNeed();
  std::optional<Need> FindNeed();
  std::optional<Need> FindNeedToStart() const;
  bool HearsOfAJob() const;
  std::optional<std::string> FindLoss() const;
  std::optional<std::string> FindWish() const;
  std::optional<Need> FindNewcomer() const;
  bool ComesBack(const MemberProcess& supervisor) const;
  std::optional<std::string> FindTornLink() const;
  bool SpokeInThisGeneration(const Peer& peer) const;
  // What it said in this generation, or null.
  const StatusMessage* StatusOf(MemberId listed) const;

  // membership_drive.cc: driving a ballot for it.
  void DriveProposer();
  void BeginBallot();
  bool AnyoneFreezes();
  void ConcludePrepare();
  void Resend();
  void HandleReject(const RejectMessage& reject);
  void AbandonBallot(std::string why);
  std::vector<MemberProcess> Newcomers() const;
  int PlaceInLine() const;
  TimePoint StartOfBallot() const;

  const MembershipOptions options_;
  Random& random_;
  TimePoint now_;
  Phase phase_ = Phase::kStarting;
  std::optional<Outcome> outcome_;
  bool end_is_decided_ = false;  // the outcome follows from a decision that ends the job
  std::string reason_;
  bool only_proposer_knows_ = false;  // reason_
  TimePoint next_deadline_ = kNever;
  MembershipOutputs outputs_;
  std::deque<Message> to_self_;

  DecisionRef decision_;
  bool has_too_few_hosts_ = false;  // in decision_
  bool installed_ = false;
  bool ever_listed_ = false;  // in decision_'s lineage
  bool leaving_ = false;
  Generation reported_broken_in_ = 0;
  MemberProcess reported_broken_;                // the other end, then
  std::map<MemberId, BrokenLink> broken_links_;  // of the worker
  Worker worker_;
  Peers peers_;
  // Alive, as far as is known, and watching everybody: see membership_watch.cc. Without this one.
  std::vector<MemberProcess> circle_;
  bool is_watcher_ = false;  // this one is of them
  bool circle_is_stale_ = true;
  DecisionRef circle_of_;          // null: of the starting members
  std::set<MemberId> outsiders_;   // who isn't listed, and said something in this generation
  Tally tally_;                    // of who is
  std::set<MemberId> know_a_job_;  // whose newest message was about a lineage

  // All of these are about the generation after decision_.
  Acceptor acceptor_;
  std::optional<PendingPrepare> pending_;  // waits for the worker to freeze
  Proposer proposer_;
  std::optional<Need> need_;
  TimePoint need_since_ = kNever;
  TimePoint torn_since_ = kNever;   // two listed members that are alive don't hear each other
  MemberProcess foreign_proposer_;  // whose ballot was answered last, and when
  TimePoint foreign_ballot_at_;
  TimePoint backoff_until_;
  uint64_t highest_round_ = 0;
  std::string hold_reason_;  // why the last ballot came to nothing

  TimePoint stuck_since_;  // not able to go on, or not listed, since then
  Duration heartbeat_interval_;
  TimePoint next_heartbeat_;
  bool lacks_changed_ = false;
  TimePoint news_due_ = kNever;  // of whom this one lacks, which waits a moment for more of it
  size_t turn_ = 0;  // whom the heartbeat of who isn't settled goes to beside its circle
  uint64_t status_sequence_ = 0;
  AgentReport last_report_;  // as the circle was last told
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_H_
