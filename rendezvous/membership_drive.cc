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

// Who isn't listed, and could be: it and all who are alive and that it would watch hear each other,
// and no worker has a cut link to its worker, else admitting it would mean to exclude somebody, and
// to and fro. A twin of a listed process replaces it, once somebody else has the history.
std::vector<MemberProcess> Membership::Newcomers() const {
  if (decision_ == nullptr) return {};
  std::vector<const Peer*> waiting;
  auto consider = [&](const Peer& peer) {
    if (!peers_.IsAlive(peer, now_) || decision_->IsDisplaced(peer.process)) return;
    const AgentReport& agent = peer.status->agent;
    if (!agent.leaving && (agent.witness || !agent.worker.IsNone())) waiting.push_back(&peer);
  };
  for (MemberId member : outsiders_) consider(*peers_.Find(member));
  for (const auto& [member, twin] : peers_.twins()) {
    const bool is_listed = decision_->FindSupervisor(twin.process) != nullptr;
    if (!is_listed && SpokeInThisGeneration(twin)) consider(twin);
  }
  if (waiting.empty()) return {};
  const MemberId keeper = WhoKeeps(tally_.Of(Tally::kTakesOver), [&](MemberId member) {
    return std::any_of(waiting.begin(), waiting.end(),
                       [=](const Peer* peer) { return peer->process.member == member; });
  });
  const std::set<MemberId>& gone = tally_.Of(Tally::kUnreachable);
  std::set<MemberId> cut_off;
  for (MemberId member : tally_.Of(Tally::kLacks)) {
    if (gone.contains(member)) continue;
    for (MemberId other : LacksOf(member)) cut_off.insert(other);
  }
  std::vector<MemberProcess> newcomers;
  for (const Peer* peer : waiting) {
    const MemberId self = peer->process.member;
    if (decision_->Find(self) == nullptr) {
      if (cut_off.contains(self)) continue;
    } else if (peers_.Find(self) != peer && (keeper < 0 || keeper == self)) {
      continue;
    }
    const std::vector<MemberId>& lacks = peer->status->agent.lacks;
    const bool lacks_any = std::any_of(lacks.begin(), lacks.end(), [&](MemberId member) {
      if (decision_->Find(member) != nullptr) return !gone.contains(member);
      return std::any_of(newcomers.begin(), newcomers.end(),
                         [=](const MemberProcess& newcomer) { return newcomer.member == member; });
    });
    if (lacks_any) continue;
    newcomers.push_back(peer->process);
    cut_off.insert(lacks.begin(), lacks.end());
  }
  return newcomers;
}

void Membership::DriveProposer() {
  if (!SelfVotes() || outcome_.has_value()) return;
  if (!proposer_.active()) {
    if (!need_.has_value() || !is_watcher_ || now_ < StartOfBallot()) return;
    BeginBallot();
  }
  if (proposer_.phase() == Proposer::Phase::kPreparing) {
    if (now_ >= proposer_.deadline() && AnyoneFreezes()) {
      proposer_.Extend(now_ + options_.answer_timeout);
    }
    ConcludePrepare();
  }
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
  std::vector<MemberProcess> newcomers = Newcomers();
  for (const MemberProcess& newcomer : newcomers) {
    if (ComesBack(newcomer)) peers_.Find(newcomer)->let_in_at = now_;
  }
  proposer_.Begin(ballot, std::move(electorate), std::move(newcomers),
                  now_ + options_.answer_timeout);
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

// Of those who were asked and are alive. Their answer comes when the update that their worker is in
// is done: to go on without them would cost a transfer each, to wait costs what all wait for
// anyway.
bool Membership::AnyoneFreezes() {
  return proposer_.AnyUnanswered([this](const MemberProcess& process) {
    if (process == self()) return worker_.phase == Worker::Phase::kFreezing;
    const Peer* peer = peers_.Find(process);
    return peer != nullptr && peers_.IsAlive(*peer, now_) && peer->status.has_value() &&
           peer->status->agent.freezing;
  });
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
