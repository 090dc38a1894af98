// Answers to other agents' ballots, and to this agent's own: the worker stops before its agent
// promises.
#include <utility>

#include "glog/logging.h"
#include "rendezvous/membership.h"

namespace closeranks::rendezvous {

bool Membership::MayPropose(const Message& message, const PrepareMessage& prepare) const {
  const MemberProcess& proposer = message.from;
  if (prepare.ballot.IsNone() || prepare.ballot.proposer != proposer.member ||
      prepare.ballot.supervisor != proposer.incarnation) {
    return false;
  }
  if (decision_ != nullptr) return decision_->FindSupervisor(proposer) != nullptr;
  // Generation 1: the proposer knows each of the starting processes that it asks.
  return SelfVotes() && message.to == options_.supervisor &&
         proposer.member < options_.starting_members;
}

void Membership::HandlePrepare(const Message& message, const PrepareMessage& prepare) {
  if (!MayPropose(message, prepare)) return;
  if (decision_ == nullptr && HearsOfAJob()) return;
  highest_round_ = std::max(highest_round_, prepare.ballot.round);
  Ballot highest = SelfVotes() ? acceptor_.promised() : Ballot{};
  if (pending_.has_value()) highest = std::max(highest, pending_->prepare.ballot);
  if (prepare.ballot < highest) {
    Send(message.from, RejectMessage{prepare.ballot, highest});
    return;
  }
  if (message.from != self() && prepare.ballot > highest) {
    foreign_proposer_ = message.from;
    foreign_ballot_at_ = now_;
  }
  pending_ = PendingPrepare{message.from, prepare};
  FreezeWorker(message.generation + 1);
  if (worker_.phase != Worker::Phase::kFreezing) AnswerPending();
}

void Membership::FreezeWorker(Generation generation) {
  if (worker_.phase != Worker::Phase::kRunning) return;
  worker_.freezing_for = generation;
#ifdef CLOSERANKS_PLANT_FREEZE_SKIPPED
  worker_.phase = Worker::Phase::kStopped;
  worker_.state = decision_->resume;
#else
  worker_.phase = Worker::Phase::kFreezing;
  // Well before a proposer goes on without it. Most freeze at once, and say nothing of it.
  worker_.freezes_long = now_ + options_.answer_timeout / 2;
  worker_.freeze_deadline = now_ + options_.freeze_timeout;
  outputs_.commands.push_back(
      {WorkerCommand::Kind::kFreeze, worker_.incarnation, generation, nullptr});
#endif
}

void Membership::AnswerPending() {
  CHECK(pending_.has_value());
  CHECK(worker_.phase == Worker::Phase::kNone || worker_.phase == Worker::Phase::kStopped);
  PendingPrepare pending = *std::exchange(pending_, std::nullopt);
  PromiseMessage promise;
  promise.ballot = pending.prepare.ballot;
  if (SelfVotes()) {
    acceptor_.Promise(promise.ballot);
    promise.accepted = acceptor_.accepted();
  }
  promise.agent = ReportSelf();
  promise.agent.lacks = Lacks();
  promise.card = worker_.card;
  promise.terms = worker_.terms;
  if (worker_.phase == Worker::Phase::kStopped) promise.state = worker_.state;
  promise.started = options_.started;
  Send(pending.proposer, std::move(promise));
}

void Membership::HandleAccept(const Message& message, const AcceptMessage& accept) {
  const Decision& value = *accept.value;
  if (!SelfVotes() || value.generation != message.generation + 1 ||
      (decision_ != nullptr && value.lineage != decision_->lineage)) {
    return;
  }
  if (acceptor_.Accept(accept.ballot, accept.value)) {
    Send(message.from, AcceptedMessage{accept.ballot});
  } else {
    Send(message.from, RejectMessage{accept.ballot, acceptor_.promised()});
  }
}

}  // namespace closeranks::rendezvous
