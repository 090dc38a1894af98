// What this member knows, has stored and may install, and how others come to know it.
#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "rendezvous/membership.h"

namespace closeranks::rendezvous {
namespace {

Outcome OutcomeOf(JobEnd end) {
  switch (end) {
    case JobEnd::kStateLost:
      return Outcome::kStateLost;
    case JobEnd::kAllLeft:
      return Outcome::kLeft;
    case JobEnd::kMismatch:
      return Outcome::kMismatched;
    case JobEnd::kNone:
    case JobEnd::kDone:
      break;
  }
  CHECK(end == JobEnd::kDone);
  return Outcome::kEnded;
}

}  // namespace

const ListedMember* Membership::SelfListed() const {
  return decision_ == nullptr ? nullptr : decision_->FindSupervisor(self());
}

bool Membership::SelfVotes() const {
  return decision_ == nullptr ? options_.self < options_.starting_members : SelfListed() != nullptr;
}

void Membership::Send(const MemberProcess& to, MessageBody body) {
  Message message;
  message.from = self();
  message.to = to.incarnation;
  if (decision_ != nullptr) {
    message.lineage = decision_->lineage;
    message.generation = decision_->generation;
  }
  message.body = std::move(body);
  if (to == self()) {
    to_self_.push_back(std::move(message));
  } else {
    outputs_.messages.push_back({to.member, std::move(message)});
  }
}

void Membership::TellNewest(const MemberProcess& to) {
  // Who never belonged to a lineage doesn't spread it: else two starters could keep alive between
  // them the memory of a job whose members are all gone, and wait for it for ever.
  if (decision_ == nullptr || !ever_listed_) return;
  if (Peer* peer = peers_.Find(to)) {
    if (peer->told_generation == decision_->generation &&
        now_ - peer->told_at < options_.resend_interval / 2) {
      return;
    }
    peer->told_generation = decision_->generation;
    peer->told_at = now_;
  }
  Send(to, DecidedMessage{decision_});
}

void Membership::Handle(const Message& message) {
  if (!message.to.IsNone() && message.to != options_.supervisor) return;
  const bool is_displaced = decision_ != nullptr && decision_->IsDisplaced(message.from);
  if (is_displaced) return TellNewest(message.from);
  if (message.from != self()) {
    bool greets = NoteSender(message);
    if (const auto* status = std::get_if<StatusMessage>(&message.body)) {
      greets |= NoteStatus(message, *status);
    }
    if (greets) SendStatusTo(message.from);
  }
  if (const auto* decided = std::get_if<DecidedMessage>(&message.body)) {
    return Learn(decided->decision, {});
  }
#ifndef CLOSERANKS_PLANT_GENERATION_UNCHECKED
  if (!IsOfThisGeneration(message)) return;
#endif
  if (decision_ != nullptr && decision_->job_ended()) return;
  if (const auto* prepare = std::get_if<PrepareMessage>(&message.body)) {
    HandlePrepare(message, *prepare);
  } else if (const auto* promise = std::get_if<PromiseMessage>(&message.body)) {
    proposer_.AddPromise(message.from, *promise);
  } else if (const auto* reject = std::get_if<RejectMessage>(&message.body)) {
    HandleReject(*reject);
  } else if (const auto* accept = std::get_if<AcceptMessage>(&message.body)) {
    HandleAccept(message, *accept);
  } else if (const auto* accepted = std::get_if<AcceptedMessage>(&message.body)) {
    proposer_.AddAccepted(message.from, accepted->ballot);
  }
}

// Whether both know the same newest decision. If not, whoever is behind gets it sent.
bool Membership::IsOfThisGeneration(const Message& message) {
  const Incarnation lineage = decision_ == nullptr ? Incarnation{} : decision_->lineage;
  const Generation generation = decision_ == nullptr ? 0 : decision_->generation;
  if (message.lineage == lineage && message.generation == generation) return true;
  const bool same_lineage =
      message.lineage == lineage || message.lineage.IsNone() || lineage.IsNone();
  if (!same_lineage || message.generation < generation) {
    TellNewest(message.from);
  } else {
    Peer* peer = peers_.Find(message.from);
    if (peer == nullptr || now_ - peer->asked_at >= options_.resend_interval / 2) {
      if (peer != nullptr) peer->asked_at = now_;
      SendStatusTo(message.from);
    }
  }
  return false;
}

void Membership::Learn(const DecisionRef& decision, const std::set<MemberProcess>& announce_to) {
  if (decision_ != nullptr && decision->lineage == decision_->lineage) {
    if (decision->generation == decision_->generation) {
      CHECK(*decision == *decision_)
          << "two decisions for one generation: " << *decision << " and " << *decision_;
      return;
    }
    if (decision->generation < decision_->generation) return;
    CHECK_GE(decision->floor, decision_->floor) << *decision << " after " << *decision_;
  } else if (ever_listed_) {
    return;  // another lineage's: this one ends by itself, when its quorum is lost
  }
  // Whoever was never in a job that ended undone waits for its members to go, and starts anew.
  const bool ended_undone = decision->job_ended() && decision->end != JobEnd::kDone;
  if (decision_ == nullptr && ended_undone && decision->FindSupervisor(self()) == nullptr) return;
  NoteLosses(*decision);
  NoteVotedOut(*decision);
  NoteBrokenLink(*decision);
  decision_ = decision;
  // Counting sorts all who are listed, in each agent: where none can be too few, a world of 10,000
  // forms without that.
  has_too_few_hosts_ = options_.least_hosts > 1 && decision->hosts() < options_.least_hosts;
  // A job that holds has nothing to lose by trying those links again.
  if (has_too_few_hosts_) broken_links_.clear();
  ForgetOlderGeneration();
  if (decision_->IsDisplaced(self())) return Finish(Outcome::kReplaced);

  const ListedMember* listed = SelfListed();
  const bool was_listed = ever_listed_;
  if (listed != nullptr) ever_listed_ = true;
  if (listed != nullptr || !was_listed) stuck_since_ = std::max(stuck_since_, now_);
  if (worker_.phase == Worker::Phase::kRunning || worker_.phase == Worker::Phase::kFreezing) {
    // Only who answered a ballot is listed, and its worker had stopped by then.
    CHECK(listed == nullptr || listed->worker != worker_.incarnation)
        << "member " << options_.self
        << " is listed with a worker that never stopped: " << *decision_;
    FreezeWorker(decision_->generation);
  }
  for (const MemberProcess& process : announce_to) {
    if (process == self()) continue;
    Send(process, DecidedMessage{decision_});
    // What it sent before it knew needs no answer.
    Peer* peer = peers_.Find(process);
    if (peer == nullptr) continue;
    peer->told_generation = decision_->generation;
    peer->told_at = now_;
  }
  SendNews();
}

// Unless it goes in good order, or was told of already.
void Membership::NoteLoss(const MemberProcess& supervisor) {
  if (outcome_.has_value() || tally_.Of(Tally::kUnreachable).contains(supervisor.member) ||
      tally_.Of(Tally::kLeaves).contains(supervisor.member)) {
    return;
  }
  outputs_.losses.push_back(supervisor);
}

// Others may have seen it first.
void Membership::NoteLosses(const Decision& next) {
  if (decision_ == nullptr || !is_watcher_) return;
  for (const ListedMember& listed : decision_->members) {
    if (next.Find(listed.member) != nullptr || listed.member == options_.self) continue;
    NoteLoss({listed.member, listed.supervisor});
  }
}

void Membership::NoteVotedOut(const Decision& next) {
  if (decision_ == nullptr) return;
  for (const ListedMember& listed : decision_->members) {
    if (next.Find(listed.member) != nullptr) continue;
    Peer* peer = peers_.Find(MemberProcess{listed.member, listed.supervisor});
    if (peer != nullptr) peer->voted_out_at = now_;
  }
}

void Membership::NoteBrokenLink(const Decision& next) {
  auto is_listed = [&next](const MemberProcess& worker) {
    const ListedMember* listed = next.Find(worker.member);
    return listed != nullptr && listed->worker == worker.incarnation;
  };
  if (decision_ == nullptr || reported_broken_in_ != decision_->generation ||
      !is_listed(reported_broken_) || !is_listed({options_.self, worker_.incarnation})) {
    return;
  }
  BrokenLink& link = broken_links_[reported_broken_.member];
  if (link.to != reported_broken_ || now_ - link.last > kBrokenLinkMemory)
    link = {reported_broken_, 0, {}};
  ++link.times;
  link.last = now_;
}

// Everything that was begun on an older decision ends here.
void Membership::ForgetOlderGeneration() {
  installed_ = false;
  acceptor_ = Acceptor();
  pending_.reset();
  proposer_.Abandon();
  need_.reset();
  need_since_ = torn_since_ = kNever;
  foreign_proposer_ = {};
  backoff_until_ = now_;
  highest_round_ = 0;
  hold_reason_.clear();
  tally_.Begin(*decision_);
  heartbeat_interval_ = options_.HeartbeatInterval(decision_->members.size());
  peers_.SetBounds(options_.Patience(decision_->members.size()));
  peers_.ListedAre(*decision_);
  circle_is_stale_ = true;
  UpdateCircle();
  for (const auto& [member, peer] : peers_.all()) Reassess(member);
  NoteSelf();
}

void Membership::UpdateInstalled() {
  if (decision_ == nullptr) return;
  bool is_stored = tally_.OfQuorum(Tally::kStored);
#ifdef CLOSERANKS_PLANT_INSTALLED_BEFORE_STORED
  is_stored = true;
#endif
  if (!installed_ && is_stored) {
    installed_ = true;
    SendInstalled();
  }
  // After the end there is no generation that could miss the votes of who isn't listed in it.
  bool may_end = installed_ || SelfListed() == nullptr;
#ifdef CLOSERANKS_PLANT_END_NOT_STORED
  may_end = true;
#endif
  if (decision_->job_ended() && may_end && !outcome_.has_value()) {
    end_is_decided_ = true;
    return Finish(OutcomeOf(decision_->end));
  }
  if (installed_) InstallWorker();
}

void Membership::InstallWorker() {
  const ListedMember* listed = SelfListed();
  if (listed == nullptr || listed->worker.IsNone() || listed->worker != worker_.incarnation) return;
  // A promise for the next generation is never withdrawn: its worker stays stopped until that is
  // made.
  bool has_promised = !acceptor_.promised().IsNone();
#ifdef CLOSERANKS_PLANT_PROMISE_WITHDRAWN
  has_promised = false;
#endif
  if (worker_.told_to_install == decision_->generation || has_promised || decision_->job_ended()) {
    return;
  }
#ifndef CLOSERANKS_PLANT_MINIMUM_IGNORED
  if (has_too_few_hosts_) return;
#endif
  CHECK(worker_.phase == Worker::Phase::kStopped);
  CHECK_LT(worker_.told_to_install, decision_->generation);
  CHECK(!decision_->IsDisplaced({options_.self, worker_.incarnation}));
  worker_.phase = Worker::Phase::kRunning;
  worker_.told_to_install = decision_->generation;
  worker_.state.reset();
  worker_.done = false;
  outputs_.commands.push_back(
      {WorkerCommand::Kind::kInstall, worker_.incarnation, decision_->generation, decision_});
}

}  // namespace closeranks::rendezvous
