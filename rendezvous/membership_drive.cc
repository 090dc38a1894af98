// Making a generation: when to begin a ballot, whom to ask, and when it is decided.
#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "rendezvous/membership.h"

namespace closeranks::rendezvous {

// How many who would propose before this one seem alive.
int Membership::PlaceInLine() const {
  int place = 0;
  for (const MemberProcess& process : circle_) {
    if (process.member > options_.self) continue;
    const Peer* peer = peers_.Find(process.member);
    place += peer != nullptr && peers_.IsAlive(*peer, now_);
  }
  return place;
}

TimePoint Membership::StartOfBallot() const {
  TimePoint start = need_since_ + (need_->settle ? options_.join_settle : Duration(0));
  // Another's ballot is given the time it may need, as long as its proposer seems alive.
  if (foreign_proposer_.member >= 0 && peers_.IsAlive(foreign_proposer_, now_)) {
    start = std::max(start, foreign_ballot_at_ + options_.answer_timeout + options_.takeover_delay);
  }
  return std::max(start + PlaceInLine() * options_.takeover_delay, backoff_until_);
}

// Who isn't listed, and could be.
std::vector<MemberProcess> Membership::Newcomers() const {
  std::vector<MemberProcess> newcomers;
  if (decision_ == nullptr) return newcomers;
  auto consider = [&](const Peer& peer) {
    if (!peers_.IsAlive(peer, now_) || decision_->IsDisplaced(peer.process)) return;
    const AgentReport& agent = peer.status->agent;
    if (!agent.leaving && (agent.witness || !agent.worker.IsNone())) {
      newcomers.push_back(peer.process);
    }
  };
  for (MemberId member : outsiders_) consider(*peers_.Find(member));
  for (const auto& [member, twin] : peers_.twins()) {
    const bool is_listed = decision_->FindSupervisor(twin.process) != nullptr;
    if (!is_listed && SpokeInThisGeneration(twin)) consider(twin);
  }
  return newcomers;
}

void Membership::DriveProposer() {
  if (!SelfVotes() || outcome_.has_value()) return;
  if (!proposer_.active()) {
    if (!need_.has_value() || !is_watcher_ || now_ < StartOfBallot()) return;
    BeginBallot();
  }
  if (proposer_.phase() == Proposer::Phase::kPreparing) ConcludePrepare();
  if (proposer_.HasAccepted()) {
    const DecisionRef decided = proposer_.value();
    std::set<MemberProcess> everybody = proposer_.Asked();
    for (const ListedMember& listed : decided->members) {
      everybody.insert({listed.member, listed.supervisor});
    }
    Learn(decided, everybody);
    return;
  }
  if (!proposer_.active()) return;
  if (now_ >= proposer_.deadline()) {
    AbandonBallot(proposer_.phase() == Proposer::Phase::kPreparing ? "too few answer"
                                                                   : "too few vote");
  } else if (now_ >= proposer_.next_resend) {
    Resend();
  }
}

void Membership::BeginBallot() {
  Proposer::Electorate electorate;
  if (decision_ == nullptr) {
    for (MemberId member = 0; member < options_.starting_members; ++member) {
      const Peer* peer = peers_.Find(member);
      if (member != options_.self && (peer == nullptr || peer->process.incarnation.IsNone())) {
        return AbandonBallot("member " + std::to_string(member) + " was never heard");
      }
      electorate.weights[member == options_.self ? self() : peer->process] = 1;
    }
    electorate.needed = options_.starting_members;
  } else {
    for (const ListedMember& listed : decision_->members) {
      MemberProcess voter{listed.member, listed.supervisor};
#ifdef CLOSERANKS_PLANT_VOTES_BOUND_TO_MEMBERS
      if (const Peer* peer = peers_.Find(listed.member)) voter = peer->process;
#endif
      electorate.weights[voter] = listed.weight;
    }
    electorate.needed = decision_->QuorumWeight();
  }
  const Ballot ballot{++highest_round_, options_.self, options_.supervisor};
  proposer_.Begin(ballot, std::move(electorate), Newcomers(), now_ + options_.answer_timeout);
  Resend();
}

// Asks who hasn't answered: for a promise, or who promised for the vote.
void Membership::Resend() {
  for (const MemberProcess& process : proposer_.Unanswered()) {
    if (proposer_.HasPromise(process)) {
      Send(process, AcceptMessage{proposer_.ballot(), proposer_.value()});
    } else {
      Send(process, PrepareMessage{proposer_.ballot()});
    }
  }
  proposer_.next_resend = now_ + options_.resend_interval;
}

void Membership::ConcludePrepare() {
  if (!proposer_.HasPromises()) return;
  if (now_ < proposer_.deadline()) {
    // A fresh value lists only who answered: whoever seems alive is waited for.
    const bool waits = proposer_.AnyUnanswered([this](const MemberProcess& process) {
      return process == self() || peers_.IsAlive(process, now_);
    });
    if (waits) return;
  }
  Choice choice{ObligedValue(proposer_.VoterAnswers()), ""};
#ifdef CLOSERANKS_PLANT_OBLIGATION_IGNORED
  choice.value = nullptr;
#endif
  if (choice.value == nullptr) {
    choice = decision_ == nullptr ? FirstValue(proposer_.Answers(), Incarnation::Draw(random_))
                                  : NextValue(*decision_, proposer_.Answers());
  }
  if (choice.value == nullptr) return AbandonBallot(choice.hold_reason);
  hold_reason_.clear();
  proposer_.BeginAccepting(std::move(choice.value), now_ + 2 * options_.answer_timeout);
  Resend();
}

void Membership::HandleReject(const RejectMessage& reject) {
  if (!proposer_.active() || reject.ballot != proposer_.ballot()) return;
  highest_round_ = std::max(highest_round_, reject.promised.round);
  if (reject.promised > reject.ballot) AbandonBallot("");
}

void Membership::AbandonBallot(std::string why) {
  proposer_.Abandon();
  hold_reason_ = std::move(why);
  // Spread, so that two who got into each other's way don't do so again.
  const auto spread = static_cast<uint64_t>(options_.takeover_delay.count());
  backoff_until_ = now_ + options_.takeover_delay / 2 +
                   Duration(static_cast<int64_t>(random_.Below(spread + 1)));
}

}  // namespace closeranks::rendezvous
