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
  for (const auto& [member, peer] : peers_.all()) {
    if (peers_.IsAlive(peer, now_) && !peer.lineage.IsNone()) return true;
  }
  return false;
}

std::optional<Membership::Need> Membership::FindNeedToStart() const {
  if (HearsOfAJob()) return std::nullopt;
  if (!acceptor_.promised().IsNone()) return Need{"a ballot for generation 1 was begun"};
  for (MemberId member = 0; member < options_.starting_members; ++member) {
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
  return Need{"all starting members are there"};
}

std::optional<Membership::Need> Membership::FindNeed() {
  if (auto loss = FindLoss()) return Need{*std::move(loss)};
  if (auto wish = FindWish()) return Need{*std::move(wish)};
  auto torn = FindTornLink();
  if (!torn.has_value()) {
    torn_since_ = kNever;
  } else if (torn_since_ == kNever) {
    torn_since_ = now_;
  } else if (now_ - torn_since_ >= options_.heartbeat_interval / 4) {
    // Not hearing took a peer_timeout already. Whoever lost a peer would exclude just that one; who
    // sees both should be faster, and choose.
    return Need{*std::move(torn)};
  }
  // Who waits for this generation to be installed is not made to wait for yet another.
  if (installed_) {
    if (auto newcomer = FindNewcomer()) return Need{*std::move(newcomer), true};
  }
  return std::nullopt;
}

const AgentReport* Membership::ReportOf(const ListedMember& listed, bool of_this_generation) const {
  const Peer* peer = peers_.Find(MemberProcess{listed.member, listed.supervisor});
  if (peer == nullptr || !peer->status.has_value()) return nullptr;
  if (of_this_generation && (peer->status_lineage != decision_->lineage ||
                             peer->status_generation != decision_->generation)) {
    return nullptr;
  }
  return &peer->status->agent;
}

bool Membership::IsAliveListed(const ListedMember& listed) const {
  const MemberProcess process{listed.member, listed.supervisor};
  return process == self() || peers_.IsAlive(process, now_);
}

// A listed worker or agent that is gone, or out of reach.
std::optional<std::string> Membership::FindLoss() const {
  for (const ListedMember& listed : decision_->members) {
    const bool is_self = listed.member == options_.self;
    if (!is_self && !IsAliveListed(listed)) return Name(listed.member) + " is out of reach";
    if (listed.worker.IsNone()) continue;
    const AgentReport* report = is_self ? nullptr : ReportOf(listed, false);
    if (is_self ? worker_.incarnation != listed.worker
                : report != nullptr && report->worker != listed.worker) {
      return "the worker of " + Name(listed.member) + " is gone";
    }
  }
  if (!acceptor_.promised().IsNone() || pending_.has_value()) {
    return "a ballot for the next generation was begun";
  }
  return std::nullopt;
}

// What a listed member asks for.
std::optional<std::string> Membership::FindWish() const {
  const AgentReport own = ReportSelf();
  if (reported_broken_in_ == decision_->generation) return "the own worker reported a broken link";
  const ListedMember* leaver = nullptr;
  bool all_done = true, somebody_takes_over = false, agent_stays = false;
  for (const ListedMember& listed : decision_->members) {
    const bool is_self = listed.member == options_.self;
    const AgentReport* report = is_self ? &own : ReportOf(listed, true);
    if (report == nullptr) {
      all_done = false;
      agent_stays = true;
      continue;
    }
    if (!is_self) {
      const StatusMessage& status = *peers_.Find(listed.member)->status;
      if (status.wants_generation) return Name(listed.member) + "'s worker reported a broken link";
      if (status.promised_next) return "the next generation was begun with " + Name(listed.member);
    }
    if (!listed.worker.IsNone()) all_done &= report->done;
    if (report->leaving) {
      leaver = &listed;
    } else {
      agent_stays |= !listed.worker.IsNone() || !report->witness;
      somebody_takes_over |= !listed.worker.IsNone() && report->entered;
    }
  }
  if (all_done) return "every worker has done the job's last step";
  // Who has the history leaves only when somebody else has it, or when everybody leaves.
  if (leaver != nullptr && (leaver->worker.IsNone() || somebody_takes_over || !agent_stays)) {
    return Name(leaver->member) + " leaves";
  }
  return std::nullopt;
}

// A ready worker that isn't listed. Of an agent that isn't listed either only if it and all who are
// alive hear each other: else admitting it would mean to exclude somebody, and to and fro.
std::optional<std::string> Membership::FindNewcomer() const {
  for (const ListedMember& listed : decision_->members) {
    if (!listed.worker.IsNone()) continue;
    const bool is_self = listed.member == options_.self;
    const AgentReport* report = is_self ? nullptr : ReportOf(listed, true);
    if (is_self ? !worker_.incarnation.IsNone() && !leaving_
                : report != nullptr && !report->worker.IsNone() && !report->leaving) {
      return Name(listed.member) + "'s worker is ready";
    }
  }
  for (const MemberProcess& newcomer : Newcomers()) {
    bool hears_all = true;
    for (const ListedMember& listed : decision_->members) {
      hears_all &= !IsAliveListed(listed) || HearEachOther(listed.member, newcomer.member);
    }
    if (hears_all) return Name(newcomer.member) + " wants in";
  }
  return std::nullopt;
}

// Two listed members that are alive, and don't hear each other.
std::optional<std::string> Membership::FindTornLink() const {
  for (const ListedMember& a : decision_->members) {
    for (const ListedMember& b : decision_->members) {
      if (b.member >= a.member || !IsAliveListed(a) || !IsAliveListed(b)) continue;
      if ((a.member != options_.self && ReportOf(a, true) == nullptr) ||
          (b.member != options_.self && ReportOf(b, true) == nullptr)) {
        continue;
      }
      if (!HearEachOther(a.member, b.member)) {
        return Name(b.member) + " and " + Name(a.member) + " don't reach each other";
      }
    }
  }
  return std::nullopt;
}

bool Membership::HearEachOther(MemberId a, MemberId b) const {
  auto hears = [this](MemberId who, MemberId whom) {
    if (who == options_.self) {
      const std::vector<MemberId> heard = ReportSelf().hears;
      return std::binary_search(heard.begin(), heard.end(), whom);
    }
    const Peer* peer = peers_.Find(who);
    if (peer == nullptr || !peer->status.has_value()) return false;
    const std::vector<MemberId>& heard = peer->status->agent.hears;
    return std::binary_search(heard.begin(), heard.end(), whom);
  };
  return hears(a, b) && hears(b, a);
}

}  // namespace closeranks::rendezvous
