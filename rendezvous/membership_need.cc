// Whether another generation is needed, from what everybody says about itself. These are hints: a
// wrong one costs a generation, never a step.
#include <algorithm>
#include <utility>

#include "rendezvous/membership.h"

namespace closeranks::rendezvous {
namespace {

std::string Name(MemberId member) { return "member " + std::to_string(member); }

}  // namespace

void Membership::UpdateNeed() {
  std::optional<Need> need;
  if (decision_ == nullptr) {
    if (SelfVotes()) need = FindNeedToStart();
  } else if (SelfListed() != nullptr && !decision_->job_ended()) {
    need = FindNeed();
  }
  if (!need.has_value()) {
    need_since_ = kNever;
  } else if (!need_.has_value()) {
    need_since_ = now_;
  }
  need_ = std::move(need);
}

// A start needs all of the starting members, so that of a job that goes on none of them is a part.
// A job that lost them all, one after the other, and goes on with members that joined later, is the
// exception that only a lineage log in a shared store rules out; without one, a starter at least
// waits as long as it hears anybody who knows of a job.
bool Membership::HearsOfAJob() const {
  for (MemberId member : know_a_job_) {
    if (peers_.IsAlive(*peers_.Find(member), now_)) return true;
  }
  return false;
}

std::optional<Membership::Need> Membership::FindNeedToStart() const {
  const bool was_begun = !acceptor_.promised().IsNone();
  for (MemberId member = 0; !was_begun && member < options_.starting_members; ++member) {
    AgentReport report;
    if (member == options_.self) {
      report = ReportSelf();
    } else {
      const Peer* peer = peers_.Find(member);
      if (peer == nullptr || !peers_.IsAlive(*peer, now_) || !peer->status.has_value()) return {};
      report = peer->status->agent;
    }
    if (report.worker.IsNone() && !report.witness) return {};
  }
  if (HearsOfAJob()) return std::nullopt;
  return Need{was_begun ? "a ballot for generation 1 was begun" : "all starting members are there"};
}

std::optional<Membership::Need> Membership::FindNeed() {
  if (auto loss = FindLoss()) return Need{*std::move(loss)};
  if (auto wish = FindWish()) return Need{*std::move(wish)};
  auto torn = FindTornLink();
  if (!torn.has_value()) {
    torn_since_ = kNever;
  } else if (torn_since_ == kNever) {
    torn_since_ = now_;
  } else if (now_ - torn_since_ >= heartbeat_interval_ / 4) {
    // Not hearing took its time already. Whoever lost a peer would exclude just that one; who
    // sees both should be faster, and choose.
    return Need{*std::move(torn)};
  }
  // Who waits for this generation to be installed is not made to wait for yet another.
  return installed_ ? FindNewcomer() : std::nullopt;
}

bool Membership::SpokeInThisGeneration(const Peer& peer) const {
  return peer.status.has_value() && peer.status_lineage == decision_->lineage &&
         peer.status_generation == decision_->generation;
}

const StatusMessage* Membership::StatusOf(MemberId listed) const {
  const ListedMember* member = decision_->Find(listed);
  const Peer* peer =
      member == nullptr ? nullptr : peers_.Find(MemberProcess{listed, member->supervisor});
  if (peer == nullptr || !SpokeInThisGeneration(*peer)) return nullptr;
  return &*peer->status;
}

// A listed worker or agent that is gone, or out of reach.
std::optional<std::string> Membership::FindLoss() const {
  if (const auto& gone = tally_.Of(Tally::kUnreachable); !gone.empty()) {
    return Name(*gone.begin()) + " is out of reach";
  }
  if (const auto& gone = tally_.Of(Tally::kWorkerGone); !gone.empty()) {
    return "the worker of " + Name(*gone.begin()) + " is gone";
  }
  if (!acceptor_.promised().IsNone() || pending_.has_value()) {
    return "a ballot for the next generation was begun";
  }
  return std::nullopt;
}

// What a listed member asks for.
std::optional<std::string> Membership::FindWish() const {
  if (const auto& wants = tally_.Of(Tally::kWantsGeneration); !wants.empty()) {
    return Name(*wants.begin()) + "'s worker reported a broken link";
  }
  if (const auto& promised = tally_.Of(Tally::kPromisedNext); !promised.empty()) {
    return "the next generation was begun with " + Name(*promised.begin());
  }
  if (tally_.OfAll(Tally::kDone)) return "every worker has done the job's last step";
  // Who has the history leaves only when somebody else has it, or when everybody leaves.
  const bool all_go = tally_.OfAll(Tally::kGoes);
  for (MemberId leaver : tally_.Of(Tally::kLeaves)) {
    if (all_go || tally_.Any(Tally::kTakesOver) || decision_->Find(leaver)->worker.IsNone()) {
      return Name(leaver) + " leaves";
    }
  }
  return std::nullopt;
}

// A worker that isn't listed, and could be.
std::optional<Membership::Need> Membership::FindNewcomer() const {
  // A job that holds for want of hosts isn't disturbed, and each one makes its loss less likely.
  const bool settle = !has_too_few_hosts_;
  std::optional<Need> need;
  if (const auto& ready = tally_.Of(Tally::kReady); !ready.empty()) {
    need = Need{Name(*ready.begin()) + "'s worker is ready", settle};
  }
  for (const MemberProcess& newcomer : Newcomers()) {
    const bool comes_back = ComesBack(newcomer);
    if (comes_back || !need.has_value()) {
      need = Need{Name(newcomer.member) + (comes_back ? " is back" : " wants in"),
                  settle && !comes_back};
    }
    if (comes_back) break;
  }
  return need;
}

// It was out of reach for a moment, so that it lacks a few steps if it is let in at once. A link
// that breaks again and again must not stop the others each time, nor many who come back together.
bool Membership::ComesBack(const MemberProcess& supervisor) const {
  const Peer* peer = peers_.Find(supervisor);
  return decision_->Find(supervisor.member) == nullptr && peer->voted_out_at.has_value() &&
         now_ - *peer->voted_out_at < options_.join_settle &&
         (!peer->let_in_at.has_value() || now_ - *peer->let_in_at >= kBetweenReturns);
}

// As it says itself; it has said something in this generation.
std::vector<MemberId> Membership::LacksOf(MemberId listed) const {
  return listed == options_.self ? Lacks() : StatusOf(listed)->agent.lacks;
}

// Two listed members that are alive, and don't hear each other.
std::optional<std::string> Membership::FindTornLink() const {
  const std::set<MemberId>& gone = tally_.Of(Tally::kUnreachable);
  for (MemberId member : tally_.Of(Tally::kLacks)) {
    if (gone.contains(member)) continue;
    for (MemberId other : LacksOf(member)) {
      const bool is_there = other == options_.self || StatusOf(other) != nullptr;
      if (is_there && !gone.contains(other)) {
        return Name(std::min(member, other)) + " and " + Name(std::max(member, other)) +
               " don't reach each other";
      }
    }
  }
  return std::nullopt;
}

}  // namespace closeranks::rendezvous
