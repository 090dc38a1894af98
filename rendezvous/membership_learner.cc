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

AgentReport Membership::ReportSelf() const {
  AgentReport report;
  report.worker = worker_.incarnation;
  report.witness = options_.witness;
  report.leaving = leaving_;
  report.entered = decision_ != nullptr && worker_.entered == decision_->generation;
  report.done = worker_.done;
  report.hears = peers_.Hears(now_);
  std::erase_if(report.hears, [this](MemberId member) {
    auto link = broken_links_.find(member);
    return link != broken_links_.end() && link->second.times >= kTimesUntilCut &&
           now_ - link->second.last <= kBrokenLinkMemory;
  });
  return report;
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

void Membership::SendStatusTo(const MemberProcess& to) {
  StatusMessage status;
  status.sequence = ++status_sequence_;
  status.agent = ReportSelf();
  status.wants_generation = decision_ != nullptr && reported_broken_in_ == decision_->generation;
  status.promised_next = !acceptor_.promised().IsNone();
  Send(to, std::move(status));
}

void Membership::SendStatusToAll() {
  for (const auto& [member, peer] : peers_.all()) SendStatusTo({member, peer.process.incarnation});
  last_status_ = StatusMessage{};
  last_status_.agent = ReportSelf();
  last_status_.wants_generation =
      decision_ != nullptr && reported_broken_in_ == decision_->generation;
  next_heartbeat_ = now_ + options_.heartbeat_interval;
}

void Membership::TellNewest(const MemberProcess& to) {
  // Who never belonged to a lineage doesn't spread it: else two starters could keep alive between
  // them the memory of a job whose members are all gone, and wait for it for ever.
  if (decision_ == nullptr || !ever_listed_) return;
  Peer* peer = peers_.Find(to.member);
  if (peer != nullptr && peer->process == to) {
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
  if (message.from != self()) NoteSender(message);
  if (const auto* status = std::get_if<StatusMessage>(&message.body)) NoteStatus(message, *status);
  if (const auto* decided = std::get_if<DecidedMessage>(&message.body)) {
    return Learn(decided->decision, {});
  }
  if (!IsOfThisGeneration(message)) return;
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

void Membership::NoteSender(const Message& message) {
  if (message.from.member == options_.self)
    return;  // a process that this one displaces, or is displaced by
  const bool is_new = peers_.Find(message.from) == nullptr;
  const Peer* place = peers_.Find(message.from.member);
  const bool place_is_listed = place != nullptr && decision_ != nullptr &&
                               decision_->FindSupervisor(place->process) != nullptr;
  Peer* peer = peers_.Heard(message.from, now_, place_is_listed);
  if (peer == nullptr) return;
  if (peer->lineage != message.lineage) {
    // From none to one, or from one that it only waited for to another.
    peer->lineage = message.lineage;
    peer->generation = message.generation;
  } else {
    peer->generation = std::max(peer->generation, message.generation);
  }
  if (is_new) SendStatusTo(message.from);
}

void Membership::NoteStatus(const Message& message, const StatusMessage& status) {
  Peer* peer = peers_.Find(message.from.member);
  if (peer == nullptr || peer->process != message.from) return;
  if (peer->status.has_value() && status.sequence <= peer->status->sequence) return;
  peer->status = status;
  peer->status_lineage = message.lineage;
  peer->status_generation = message.generation;
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
    Peer* peer = peers_.Find(message.from.member);
    if (peer == nullptr || peer->process != message.from ||
        now_ - peer->asked_at >= options_.resend_interval / 2) {
      if (peer != nullptr) peer->asked_at = now_;
      SendStatusTo(message.from);
    }
  }
  return false;
}

void Membership::Learn(const DecisionRef& decision, const std::vector<MemberProcess>& announce_to) {
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
  // Everything that was begun on an older decision ends here.
  decision_ = decision;
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
  if (decision_->IsDisplaced(self())) return Finish(Outcome::kReplaced);

  for (const ListedMember& other : decision_->members) {
    if (other.member != options_.self) peers_.Expect(other.member);
  }
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
    if (process != self()) Send(process, DecidedMessage{decision_});
  }
  SendStatusToAll();
}

void Membership::UpdateInstalled() {
  if (decision_ == nullptr) return;
  if (!installed_) {
    installed_ = decision_->IsQuorum([this](const ListedMember& listed) {
      const MemberProcess process{listed.member, listed.supervisor};
      if (process == self()) return true;
      const Peer* peer = peers_.Find(process);
      return peer != nullptr && peer->lineage == decision_->lineage &&
             peer->generation >= decision_->generation;
    });
  }
  // After the end there is no generation that could miss the votes of who isn't listed in it.
  const bool may_end = installed_ || SelfListed() == nullptr;
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
  if (worker_.told_to_install == decision_->generation || !acceptor_.promised().IsNone() ||
      decision_->job_ended()) {
    return;
  }
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
