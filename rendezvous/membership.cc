#include "rendezvous/membership.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {
namespace {

// A member's heartbeats are so long apart for each member of its world, so that a watcher hears no
// more than a thousand in a second; or it hears each member once in it.
constexpr Duration kBetweenHeartbeats = std::chrono::milliseconds(1);
constexpr Duration kMostInterval = std::chrono::seconds(1);
// So many heartbeats in a row may be late.
constexpr int kLateHeartbeats = 4;

std::string Hosts(int count) {
  return std::to_string(count) + (count == 1 ? " host is" : " hosts are");
}

}  // namespace

MembershipOptions MembershipOptions::BetweenPods() {
  MembershipOptions options;
  options.heartbeat_interval = std::chrono::milliseconds(50);
  options.least_patience = std::chrono::milliseconds(200);
  options.answer_timeout = std::chrono::milliseconds(1500);
  options.resend_interval = std::chrono::milliseconds(250);
  options.takeover_delay = std::chrono::milliseconds(500);
  options.join_settle = std::chrono::milliseconds(500);
  return options;
}

Duration MembershipOptions::HeartbeatInterval(size_t members) const {
  const auto shared = static_cast<int64_t>(members) * kBetweenHeartbeats;
  return std::max(heartbeat_interval, std::min(Duration(shared), kMostInterval));
}

FailureDetector::Bounds MembershipOptions::Patience(size_t members) const {
  const Duration interval = HeartbeatInterval(members);
  const Duration least = std::max(least_patience, kLateHeartbeats * interval);
  return {interval, least, std::max(most_patience, least)};
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kReplaced:
      return "replaced";
    case Outcome::kQuorumLost:
      return "quorum lost";
    case Outcome::kStateLost:
      return "training state lost";
    case Outcome::kMismatched:
      return "mismatch";
    case Outcome::kJoinTimedOut:
      return "join timed out";
    case Outcome::kLeft:
      return "left";
    case Outcome::kEnded:
      return "ended";
  }
  return "unknown";
}

Membership::Membership(const MembershipOptions& options, Random& random, TimePoint now)
    : options_(options),
      random_(random),
      now_(now),
      peers_(options.Patience(options.starting_members)),
      foreign_ballot_at_(now),
      backoff_until_(now),
      stuck_since_(now),
      heartbeat_interval_(options.HeartbeatInterval(options.starting_members)),
      next_heartbeat_(now) {
  CHECK_GE(options_.self, 0);
  CHECK(!options_.supervisor.IsNone());
  CHECK_GE(options_.watchers, 1);
  CHECK_LE(options_.least_hosts, options_.starting_members);
  Settle();
}

void Membership::OnWorkerReady(TimePoint now, Incarnation worker, std::string card, Terms terms,
                               std::optional<WorkerState> state) {
  CHECK(!worker.IsNone() && !options_.witness);
  CHECK(card.size() <= kMaxCardBytes && terms.bytes() <= kMaxTermsBytes);
  Begin(now);
  worker_ = Worker{};
  broken_links_.clear();
  worker_.phase = Worker::Phase::kStopped;
  worker_.incarnation = worker;
  worker_.card = std::move(card);
  worker_.terms = std::move(terms);
  worker_.state = state;
  if (pending_.has_value()) AnswerPending();
  Settle();
}

void Membership::OnWorkerGone(TimePoint now, Incarnation worker) {
  Begin(now);
  if (!worker.IsNone() && worker == worker_.incarnation) {
    worker_ = Worker{};
    if (pending_.has_value()) AnswerPending();
  }
  Settle();
}

void Membership::OnWorkerFrozen(TimePoint now, Incarnation worker, Generation prepared,
                                std::optional<WorkerState> state) {
  Begin(now);
  if (worker == worker_.incarnation && worker_.phase == Worker::Phase::kFreezing &&
      prepared == worker_.freezing_for) {
    worker_.phase = Worker::Phase::kStopped;
    worker_.state = state;
    worker_.freeze_deadline = kNever;
    if (pending_.has_value()) AnswerPending();
  }
  Settle();
}

void Membership::OnWorkerReport(TimePoint now, Generation generation, MemberProcess broken) {
  Begin(now);
  if (decision_ != nullptr && decision_->generation == generation &&
      reported_broken_in_ != generation && decision_->world().RankOf(broken) >= 0) {
    reported_broken_in_ = generation;
    reported_broken_ = broken;
  }
  Settle();
}

void Membership::OnWorkerEntered(TimePoint now, Incarnation worker, Generation generation) {
  Begin(now);
  if (worker == worker_.incarnation && worker_.phase == Worker::Phase::kRunning &&
      worker_.told_to_install == generation) {
    worker_.entered = generation;
  }
  Settle();
}

void Membership::OnWorkerDone(TimePoint now, Incarnation worker) {
  Begin(now);
  if (worker == worker_.incarnation && worker_.phase == Worker::Phase::kRunning)
    worker_.done = true;
  Settle();
}

void Membership::OnLeaving(TimePoint now) {
  Begin(now);
  leaving_ = true;
  Settle();
}

void Membership::OnPeerLinkUp(TimePoint now, MemberProcess supervisor) {
  Begin(now);
  if (supervisor.member != options_.self && !IsOver()) {
    peers_.Expect(supervisor.member);
    SendStatusTo(supervisor);
  }
  Settle();
}

void Membership::OnPeerLinkDown(TimePoint now, MemberProcess supervisor) {
  Begin(now);
  const bool is_listed = decision_ != nullptr && decision_->FindSupervisor(supervisor) != nullptr;
  if (is_listed) NoteLoss(supervisor);
  if (is_listed || peers_.Find(supervisor) != nullptr) {
    peers_.LinkDown(supervisor);
    Reassess(supervisor.member);
  }
  Settle();
}

void Membership::OnMessage(TimePoint now, const Message& message) {
  Begin(now);
  if (!IsOver()) Handle(message);
  Settle();
}

void Membership::OnTick(TimePoint now) {
  Begin(now);
  Settle();
}

MembershipOutputs Membership::TakeOutputs() { return std::exchange(outputs_, {}); }

void Membership::Begin(TimePoint now) {
  // Whoever was stopped or starved, or whose clock jumped, must not blame its peers for the
  // silence: what they sent meanwhile may be yet to be read.
  if (next_deadline_ != kNever && now > next_deadline_ + heartbeat_interval_ / 8) {
    peers_.Forgive(now - next_deadline_);
  }
  now_ = std::max(now_, now);
  if (!IsOver() && now_ >= peers_.next_expiry()) ReassessExpired();
}

void Membership::Settle() {
  if (IsOver()) {
    to_self_.clear();
    next_deadline_ = kNever;
    return;
  }
  const Decision* settled = nullptr;
  do {
    settled = decision_.get();
    while (!to_self_.empty()) {
      Message message = std::move(to_self_.front());
      to_self_.pop_front();
      Handle(message);
    }
    UpdateCircle();
    NoteSelf();
    UpdateInstalled();
    UpdateNeed();
    DriveProposer();
  } while (!to_self_.empty() || settled != decision_.get());
  CheckTimeouts();
  if (!IsOver()) SendStatusWhenDue();
  DescribePhase();
  SetDeadline();
}

void Membership::CheckTimeouts() {
  if (worker_.phase == Worker::Phase::kFreezing && !worker_.told_to_die &&
      now_ >= worker_.freeze_deadline) {
    worker_.told_to_die = true;
    outputs_.commands.push_back(
        {WorkerCommand::Kind::kKill, worker_.incarnation, worker_.freezing_for, nullptr});
  }
  if (outcome_.has_value()) return;
  const bool is_listed = SelfListed() != nullptr;
  if (is_listed && installed_ && acceptor_.promised().IsNone() && !has_too_few_hosts_) {
    stuck_since_ = now_;
  }
  if (is_listed && now_ - stuck_since_ >= options_.quorum_timeout) Finish(Outcome::kQuorumLost);
  if (!is_listed && now_ - stuck_since_ >= options_.join_timeout) Finish(Outcome::kJoinTimedOut);
  // Who isn't listed has nothing to hand over.
  if (leaving_ && !is_listed && (decision_ == nullptr || installed_)) Finish(Outcome::kLeft);
}

void Membership::DescribePhase() {
  only_proposer_knows_ = false;
  if (outcome_.has_value()) {
    phase_ = Phase::kOver;
    reason_ = OutcomeName(*outcome_);
    return;
  }
  if (SelfListed() == nullptr) {
    phase_ = Phase::kStarting;
    reason_ = decision_ != nullptr ? "not listed in the newest generation"
              : need_.has_value()  ? need_->reason
                                   : "not all of the starting members are there with their workers";
    return;
  }
  if (installed_ && !need_.has_value() && has_too_few_hosts_) {
    phase_ = Phase::kHeld;
    const int hosts = decision_->hosts();
    const int missing = options_.least_hosts - hosts;
    reason_ = Hosts(hosts) + " left, and " + std::to_string(options_.least_hosts) +
              " at least are to be there: start " + std::to_string(missing) + " more";
    return;
  }
  if (installed_ && !need_.has_value()) {
    phase_ = Phase::kInstalled;
    reason_.clear();
    return;
  }
  const bool quorum_is_alive = tally_.QuorumWithout(Tally::kUnreachable);
  reason_ = need_.has_value() ? need_->reason : "the newest generation isn't stored by a quorum";
  phase_ = quorum_is_alive && hold_reason_.empty() ? Phase::kProposing : Phase::kHeld;
  if (!quorum_is_alive) {
    reason_ += "; a quorum is out of reach: of " + std::to_string(decision_->TotalWeight()) +
               " votes " + std::to_string(tally_.WeightWithout(Tally::kUnreachable)) +
               " are here, and " + std::to_string(decision_->QuorumWeight()) +
               " are needed: bring back whom it lacks (who is started anew has no vote)";
  } else if (!hold_reason_.empty()) {
    reason_ += "; " + hold_reason_;
    only_proposer_knows_ = true;
  }
}

void Membership::SetDeadline() {
  if (IsOver()) {
    next_deadline_ = kNever;
    return;
  }
  // What was due by now was dealt with, or waits for an event; so only what lies ahead counts.
  next_deadline_ = std::min(next_heartbeat_, news_due_);
  auto consider = [this](TimePoint when) {
    if (when > now_) next_deadline_ = std::min(next_deadline_, when);
  };
  consider(peers_.next_expiry());
  if (worker_.phase == Worker::Phase::kFreezing) consider(worker_.freezes_long);
  consider(worker_.freeze_deadline);
  if (proposer_.active()) {
    consider(proposer_.deadline());
    consider(proposer_.next_resend);
  } else if (need_.has_value() && SelfVotes() && is_watcher_) {
    consider(StartOfBallot());
  }
  if (torn_since_ != kNever) consider(torn_since_ + heartbeat_interval_ / 4);
  consider(stuck_since_ +
           (SelfListed() != nullptr ? options_.quorum_timeout : options_.join_timeout));
}

void Membership::Finish(Outcome outcome) {
  if (outcome_.has_value()) return;
  outcome_ = outcome;
  outputs_.outcome = outcome;
  proposer_.Abandon();
}

}  // namespace closeranks::rendezvous
