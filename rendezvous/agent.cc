#include "rendezvous/agent.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "rendezvous/worker_session.h"

namespace closeranks::rendezvous {
namespace {

ExitCode ExitCodeOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kReplaced:
      return ExitCode::kReplaced;
    case Outcome::kQuorumLost:
    case Outcome::kStateLost:
      return ExitCode::kQuorumLost;
    case Outcome::kMismatched:
      return ExitCode::kMismatch;
    case Outcome::kJoinTimedOut:
      return ExitCode::kJoinTimeout;
    case Outcome::kLeft:
      return ExitCode::kLeft;
    case Outcome::kEnded:
      return ExitCode::kOk;
  }
  return ExitCode::kError;
}

// Each connection that waits for the worker costs a descriptor, and some 40 bytes here: whoever
// calls while a worker is stopped can't make this process hold more than a few of them.
constexpr size_t kMostQueuedForConnections = 2000;

// An agreement with several losses takes less.
constexpr Duration kHoldPatience = std::chrono::seconds(2);

// How often a silent worker is looked at.
constexpr Duration kSilenceCheckInterval = std::chrono::milliseconds(20);

}  // namespace

Agent::Agent(Options options, net::Timers& timers, Random& random, Owner owner)
    : options_(std::move(options)),
      timers_(timers),
      owner_(std::move(owner)),
      membership_(options_.membership, random, timers.Now()) {
  Drain();
}

Agent::~Agent() {
  timers_.Cancel(tick_);
  timers_.Cancel(hold_);
  timers_.Cancel(worker_check_);
  timers_.Cancel(worker_heartbeat_);
}

void Agent::AttachWorker(std::unique_ptr<net::Link> link) {
  CHECK(worker_link_ == nullptr) << "member " << member() << " already has a worker";
  worker_link_ = std::move(link);
  worker_ = {};
  worker_link_->Start(
      {.on_frame =
           [this](const net::FrameHeader& header, std::string payload,
                  std::unique_ptr<net::Socket> passed) {
             OnWorkerFrame(header, payload, std::move(passed));
           },
       // The process may outlive its socket by a moment; only its reaping makes the death certain.
       .on_closed =
           [this](const Status& why) {
             if (worker_ends_ || worker_.IsNone()) return;
             worker_left_early_ = true;
             if (why.code() == StatusCode::kPeerLost) {
               owner_.on_hung_up();
             } else {
               owner_.kill_worker("its session failed: " + why.message(), {});
             }
           }});
  worker_ends_ = false;
  worker_was_told_ = false;
  worker_left_early_ = false;
  Welcome welcome = options_.welcome;
  welcome.security = owner_.security();
  SendToWorker(welcome);
  HeartbeatToWorker();
}

// Its death may be known before they were read.
void Agent::ReadLastWords() {
  if (worker_link_ != nullptr) worker_link_->ReceiveNow();
}

void Agent::WorkerReaped() {
  ReadLastWords();
  timers_.Cancel(worker_heartbeat_);
  worker_link_.reset();
  WorkerDoomed();
}

void Agent::WorkerDoomed() {
  timers_.Cancel(worker_check_);
  if (worker_.IsNone()) return;
  if (!worker_was_told_) worker_left_early_ = true;
  if (worker_leaves_) membership_.OnLeaving(timers_.Now());
  membership_.OnWorkerGone(timers_.Now(), std::exchange(worker_, {}));
  Drain();
}

void Agent::PassConnection(MemberId from, std::unique_ptr<net::Socket> connection) {
  if (worker_link_ == nullptr || worker_.IsNone()) return;
  if (worker_link_->queued_bytes() > kMostQueuedForConnections) return;
  SendToWorker(DataConnection{from}, std::move(connection));
}

void Agent::Leave() {
  membership_.OnLeaving(timers_.Now());
  Drain();
}

void Agent::AskWorkerToLeave(Duration grace) { SendToWorker(rendezvous::Leave{grace}); }

void Agent::OnPeerMessage(const Message& message) {
  membership_.OnMessage(timers_.Now(), message);
  Drain();
}

void Agent::OnPeerLinkUp(const MemberProcess& supervisor) {
  membership_.OnPeerLinkUp(timers_.Now(), supervisor);
  Drain();
}

void Agent::OnPeerLinkDown(const MemberProcess& supervisor) {
  membership_.OnPeerLinkDown(timers_.Now(), supervisor);
  Drain();
}

int Agent::rank() const {
  const DecisionRef& decision = membership_.decision();
  if (decision == nullptr || worker_.IsNone()) return -1;
  return decision->world().RankOf(MemberProcess{member(), worker_});
}

void Agent::OnWorkerFrame(const net::FrameHeader& header, std::string_view payload,
                          std::unique_ptr<net::Socket> passed) {
  worker_heard_ = timers_.Now();
  if (header.kind == net::FrameKind::kHeartbeat) return;
  auto message = DecodeWorkerMessage(payload);
  if (!message.ok()) {
    owner_.kill_worker(message.status().message(), {});
    return;
  }
  if (std::holds_alternative<LifelineEnd>(*message)) {
    owner_.on_lifeline(std::move(passed));
    return;
  }
  if (std::holds_alternative<FlightMemory>(*message)) {
    owner_.on_flight_memory(std::move(passed));
    return;
  }
  if (std::holds_alternative<Goodbye>(*message)) {
    worker_ends_ = true;
    WorkerDoomed();
    return;
  }
  OnWorkerMessage(*message);
}

void Agent::OnWorkerMessage(const WorkerMessage& message) {
  TimePoint now = timers_.Now();
  // Last words of a doomed worker.
  if (worker_.IsNone() && !std::holds_alternative<Hello>(message)) return;
  if (auto* progress = std::get_if<Progress>(&message)) {
    owner_.on_progress(*progress);
    return;
  }
  if (auto* hello = std::get_if<Hello>(&message)) {
    worker_ = hello->worker;
    owner_.on_hello(*hello);
    CheckWorkerIsHeard();
  } else if (auto* ready = std::get_if<Ready>(&message)) {
    owner_.on_ready();
    membership_.OnWorkerReady(now, worker_, ready->card, ready->terms, ready->state);
  } else if (auto* frozen = std::get_if<Frozen>(&message)) {
    membership_.OnWorkerFrozen(now, worker_, frozen->generation, frozen->state);
  } else if (auto* failure = std::get_if<Failure>(&message)) {
    VLOG(1) << "member " << member() << " reports in generation " << failure->generation << ": "
            << failure->reason;
    if (failure->timed_out) owner_.on_timeout();
    // What nobody in particular is suspected of asks for a new generation all the same.
    bool is_named = failure->suspect.member >= 0;
    membership_.OnWorkerReport(now, failure->generation,
                               is_named ? failure->suspect : MemberProcess{member(), worker_});
  } else if (std::holds_alternative<Done>(message)) {
    membership_.OnWorkerDone(now, worker_);
  } else if (auto* entered = std::get_if<Entered>(&message)) {
    membership_.OnWorkerEntered(now, worker_, entered->generation);
  } else if (auto* leaving = std::get_if<Leaving>(&message)) {
    worker_leaves_ = true;
    if (leaving->now) membership_.OnLeaving(now);
  } else if (auto* failing = std::get_if<Failing>(&message)) {
    SendToWorker(FailingHeard{owner_.on_failing(*failing)});
  } else if (auto* notice = std::get_if<Notice>(&message)) {
    owner_.on_notice(*notice);
  }
  Drain();
}

void Agent::SendToWorker(const AgentMessage& message, std::unique_ptr<net::Socket> passed) {
  if (worker_link_ == nullptr) return;
  if (std::holds_alternative<Ended>(message)) worker_ends_ = worker_was_told_ = true;
  worker_link_->Send({.kind = net::FrameKind::kControl}, Encode(message), std::move(passed));
}

void Agent::Drain() {
  MembershipOutputs outputs = membership_.TakeOutputs();
  for (const Envelope& envelope : outputs.messages) owner_.send(envelope);
  // Before the worker goes on without them: what it was waiting for is put on record.
  for (const Suspicion& suspicion : outputs.suspicions) {
    if (owner_.on_suspicion) owner_.on_suspicion(suspicion.supervisor.member, suspicion.heard);
  }
  for (const MemberProcess& lost : outputs.losses) {
    if (owner_.on_loss) owner_.on_loss(lost.member);
  }
  for (const WorkerCommand& command : outputs.commands) Execute(command);
  if (membership_.phase() != Membership::Phase::kOver) last_reason_ = membership_.reason();
  TellListing();
  WatchHold();
  const bool votes = membership_.phase() == Membership::Phase::kInstalled;
  if (options_.membership.witness && votes && !std::exchange(voting_is_told_, true)) {
    LOG(INFO) << "member " << member() << " votes, from generation "
              << membership_.decision()->generation << " on";
  }
  timers_.Cancel(tick_);
  if (membership_.next_deadline() != kNever) {
    tick_ = timers_.RunAt(membership_.next_deadline(), [this] {
      membership_.OnTick(timers_.Now());
      Drain();
    });
  }
  if (outputs.outcome.has_value()) {
    const ExitCode code = ExitCodeOf(*outputs.outcome);
    if (*outputs.outcome == Outcome::kStateLost) {
      last_reason_ = "every worker that had it is gone, as is told above";
    }
    if (*outputs.outcome == Outcome::kReplaced) {
      last_reason_ = "a newer process of this member is in the job since generation " +
                     std::to_string(membership_.decision()->generation) +
                     "; if that isn't meant to be, give each --host-index once";
    }
    if (*outputs.outcome == Outcome::kMismatched) last_reason_ = membership_.decision()->mismatch;
    Ended ended{code, std::string(OutcomeName(*outputs.outcome)) + ": " + last_reason_, {}};
    if (*outputs.outcome == Outcome::kEnded) ended.state = membership_.decision()->resume;
    SendToWorker(ended);
    owner_.on_outcome({*outputs.outcome, code, last_reason_});
  }
}

void Agent::TellListing() {
  const DecisionRef& decision = membership_.decision();
  if (listing_is_told_ || decision == nullptr || decision->job_ended()) return;
  if (decision->FindSupervisor({member(), options_.membership.supervisor}) == nullptr) return;
  listing_is_told_ = true;
  if (owner_.on_listed) owner_.on_listed(decision->lineage);
}

void Agent::WatchHold() {
  if (membership_.phase() == Membership::Phase::kHeld && membership_.reason() != told_hold_) {
    if (hold_ == net::kNoTimer) hold_ = timers_.RunAfter(kHoldPatience, [this] { TellHold(); });
    return;
  }
  timers_.Cancel(std::exchange(hold_, net::kNoTimer));
  if (membership_.phase() != Membership::Phase::kInstalled) return;  // it may come to nothing
  if (!std::exchange(told_hold_, "").empty() && owner_.on_hold) owner_.on_hold("");
}

void Agent::TellHold() {
  hold_ = net::kNoTimer;
  told_hold_ = membership_.reason();
  const auto limit =
      std::chrono::duration_cast<std::chrono::seconds>(options_.membership.quorum_timeout);
  const std::string why = "holds, and records nothing: " + told_hold_ +
                          "; --quorum-timeout ends it after " + std::to_string(limit.count()) +
                          " s";
  if (membership_.only_proposer_knows()) {
    owner_.on_notice({.text = why});
  } else {
    TellWorker(Noticed{member(), why});
  }
  if (owner_.on_hold) owner_.on_hold(why);
}

void Agent::Execute(const WorkerCommand& command) {
  if (command.worker != worker_) return;  // it was meant for one that is dead
  switch (command.kind) {
    case WorkerCommand::Kind::kFreeze:
      SendToWorker(Freeze{command.generation});
      break;
    case WorkerCommand::Kind::kInstall:
      SendToWorker(Install{command.decision});
      break;
    case WorkerCommand::Kind::kKill:
      owner_.kill_worker("it didn't stop in time for a new generation", {});
      break;
  }
}

void Agent::HeartbeatToWorker() {
  // One that doesn't read has enough of them.
  if (worker_link_->queued_bytes() == 0) {
    worker_link_->Send({.kind = net::FrameKind::kHeartbeat}, "");
  }
  worker_heartbeat_ = timers_.RunAfter(kAgentHeartbeatInterval, [this] { HeartbeatToWorker(); });
}

// A worker that is stopped, or whose machine starves it, is ended for certain rather than waited
// for. That it is stopped is a fact, which needs little patience; a silence may have other reasons.
void Agent::CheckWorkerIsHeard() {
  const TimePoint now = timers_.Now();
  const Duration silent = now - worker_heard_;
  const auto end_for = [&](const std::string& what, Duration limit) {
    owner_.kill_worker(
        what + " for " + std::to_string(static_cast<int>(ToMilliseconds(limit))) + " ms",
        worker_heard_);
  };
  const bool is_silent = silent >= options_.stopped_worker_timeout;
  if (is_silent && owner_.is_worker_dying && owner_.is_worker_dying()) return WorkerDoomed();
  if (is_silent && owner_.is_worker_stopped && owner_.is_worker_stopped()) {
    return end_for("it is stopped, and wasn't heard", options_.stopped_worker_timeout);
  }
  if (silent < options_.worker_timeout) {
    suspected_ = {};
  } else if (suspected_ == TimePoint{}) {
    // Maybe it was this process that stood still, and what the worker sent is yet to be read.
    suspected_ = now;
  } else if (now - suspected_ >= options_.worker_timeout / 4) {
    return end_for("it wasn't heard", options_.worker_timeout);
  }
  const Duration limit = std::min(options_.stopped_worker_timeout, options_.worker_timeout);
  const TimePoint due =
      silent < limit ? worker_heard_ + limit : now + std::min(kSilenceCheckInterval, limit / 4);
  worker_check_ = timers_.RunAt(due, [this] { CheckWorkerIsHeard(); });
}

}  // namespace closeranks::rendezvous
