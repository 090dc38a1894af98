// Who watches whom, so that a world of n costs O(n) messages: the first few that seem alive, the
// watchers (watch_order.h), send heartbeats to everybody and get everybody's; the others know
// nothing of each other. What a member has to say goes to the watchers at once, for one of them
// proposes; what a watcher knows goes to the others with its heartbeat, but for the word that a
// generation is installed. When a watcher seems lost, the next in line is one: whoever watched the
// lost one turns to it, and it finds by itself that fewer are before it.
//
// All of this is hints. Who is wrong about it proposes in vain, or waits for a heartbeat.
#include <algorithm>
#include <numeric>
#include <utility>

#include "glog/logging.h"
#include "rendezvous/membership.h"
#include "rendezvous/watch_order.h"

namespace closeranks::rendezvous {
namespace {

// Of the watchers so many say at once that a generation is installed: any one may be lost.
constexpr int kFirstToTell = 2;

WatchLine LineOf(const Decision& decision) {
  std::vector<MemberId> members;
  members.reserve(decision.members.size());
  for (const ListedMember& listed : decision.members) members.push_back(listed.member);
  return WatchLine(std::move(members));
}

}  // namespace

// Whether it is counted on, or its end is known, and it can't be heard.
bool Membership::SeemsGone(const ListedMember& listed) const {
  const Peer* peer = peers_.Find(listed.member);
  if (peer == nullptr || peer->process.incarnation.IsNone()) return false;
  if (peer->process.incarnation != listed.supervisor || peer->link_down) return true;
  return peer->counted_on && !peers_.IsAlive(*peer, now_);
}

void Membership::UpdateCircle() {
  if (!std::exchange(circle_is_stale_, false)) return;
  const std::vector<MemberProcess> before = std::exchange(circle_, {});
  const bool was_watcher = std::exchange(is_watcher_, false);
  if (decision_ == nullptr) {
    std::vector<MemberId> starting(options_.starting_members);
    std::iota(starting.begin(), starting.end(), 0);
    WatchLine line(std::move(starting));
    for (int place = 0; place < options_.watchers && !line.empty(); ++place) {
      const MemberId member = line.Next();
      peers_.Expect(member);
      if (member == options_.self) {
        is_watcher_ = true;
      } else {
        circle_.push_back({member, {}});
      }
    }
    for (MemberId member = 0; is_watcher_ && member < options_.starting_members; ++member) {
      if (member != options_.self) peers_.Expect(member);
    }
    peers_.all().erase(options_.self);
    return;
  }
  // Of those in a row that are silent some may never have been asked: the more were in vain, the
  // more are asked at once.
  int place = 0, in_vain = 0;
  std::set<MemberProcess> passed_over;
  WatchLine line = LineOf(*decision_);
  while (place < options_.watchers + in_vain && !line.empty()) {
    const ListedMember& listed = *decision_->Find(line.Next());
    const MemberProcess process{listed.member, listed.supervisor};
    if (process == self()) {
      is_watcher_ = place < options_.watchers;
    } else if (SeemsGone(listed)) {
      in_vain += !peers_.Find(listed.member)->link_down;
      passed_over.insert(process);
      continue;
    } else {
      circle_.push_back(process);
    }
    ++place;
  }
  const DecisionRef counted_in = std::exchange(circle_of_, decision_);
  if (counted_in == decision_ && circle_ == before && is_watcher_ == was_watcher) return;
  std::set<MemberProcess> counted_on(circle_.begin(), circle_.end());
  // Who watches no more is told nothing by the others: their silence is no loss.
  for (auto& [member, peer] : peers_.all()) {
    if (is_watcher_ || counted_on.contains(peer.process) || passed_over.contains(peer.process)) {
      continue;
    }
    if (std::exchange(peer.counted_on, false)) Reassess(member);
  }
  auto count_on = [this](const MemberProcess& process) {
    peers_.CountOn(process, now_);
    Reassess(process.member);
  };
  if (is_watcher_) {
    for (const ListedMember& listed : decision_->members) {
      const MemberProcess process{listed.member, listed.supervisor};
      if (process != self()) count_on(process);
    }
  } else {
    for (const MemberProcess& process : circle_) count_on(process);
  }
  circle_is_stale_ = false;  // no more than was seen above has changed
  for (const MemberProcess& process : circle_) {
    if (std::find(before.begin(), before.end(), process) == before.end()) SendStatusTo(process);
  }
}

// What is known of `member`, anew.
void Membership::Reassess(MemberId member) {
  if (decision_ == nullptr || member == options_.self) return;
  const Peer* peer = peers_.Find(member);
  if (peer == nullptr) return;
  const ListedMember* listed = decision_->Find(member);
  const bool is_listed = decision_->FindSupervisor(peer->process) != nullptr;
  if (!is_listed && SpokeInThisGeneration(*peer)) {
    outsiders_.insert(member);
  } else {
    outsiders_.erase(member);
  }
  if (listed == nullptr) return;
  Tally::Facts facts;
  // Another process of it may have the place since.
  const Peer* same = peers_.Find(MemberProcess{member, listed->supervisor});
  const bool is_counted_on = same != nullptr ? same->counted_on : peer->counted_on;
  facts[Tally::kUnreachable] = (is_counted_on || is_watcher_) && SeemsGone(*listed);
  if (is_listed) {
    facts[Tally::kStored] =
        peer->lineage == decision_->lineage && peer->generation >= decision_->generation;
    if (peer->status.has_value()) {
      // Of whatever generation it speaks.
      facts[Tally::kWorkerGone] =
          !listed->worker.IsNone() && peer->status->agent.worker != listed->worker;
    }
    if (const StatusMessage* status = StatusOf(member)) {
      facts[Tally::kPromisedNext] = status->promised_next;
      facts |= FactsOf(*listed, status->agent);
    }
  }
  const Tally::Facts before = tally_.Set(*listed, facts);
  const bool has_changed = before[Tally::kUnreachable] != facts[Tally::kUnreachable];
  if (has_changed && facts[Tally::kUnreachable] && is_listed && !peer->link_down) {
    outputs_.suspicions.push_back({peer->process, peer->last_heard});
  }
  circle_is_stale_ |= has_changed;
  lacks_changed_ |= has_changed;
}

void Membership::ReassessExpired() {
  peers_.FindNextExpiry(now_);
  for (const auto& [member, peer] : peers_.all()) Reassess(member);
}

Tally::Facts Membership::FactsOf(const ListedMember& listed, const AgentReport& report) {
  const bool has_worker = !listed.worker.IsNone();
  Tally::Facts facts;
  facts[Tally::kWantsGeneration] = report.wants_generation;
  facts[Tally::kDone] = !has_worker || report.done;
  facts[Tally::kLeaves] = report.leaving;
  facts[Tally::kGoes] = report.leaving || (!has_worker && report.witness);
  facts[Tally::kTakesOver] = !report.leaving && has_worker && report.entered;
  facts[Tally::kReady] = !has_worker && !report.worker.IsNone() && !report.leaving;
  facts[Tally::kLacks] = !report.lacks.empty();
  return facts;
}

void Membership::NoteSelf() {
  const ListedMember* listed = SelfListed();
  if (listed == nullptr) return;
  Tally::Facts facts = FactsOf(*listed, ReportSelf());
  facts[Tally::kStored] = true;
  facts[Tally::kLacks] = tally_.Any(Tally::kUnreachable) || !broken_links_.empty();
  facts[Tally::kWorkerGone] = !listed->worker.IsNone() && worker_.incarnation != listed->worker;
  tally_.Set(*listed, facts);
}

// True when it is to be greeted.
bool Membership::NoteSender(const Message& message) {
  // A process that this one displaces, or is displaced by.
  if (message.from.member == options_.self) return false;
  const Peer* place = peers_.Find(message.from.member);
  const Peer* known = peers_.Find(message.from);
  const bool is_new = known == nullptr || !known->was_heard;
  const bool had_place = place != nullptr && place->process == message.from;
  const bool place_is_listed = place != nullptr && decision_ != nullptr &&
                               decision_->FindSupervisor(place->process) != nullptr;
  Peer* peer = &peers_.Heard(message.from, now_, place_is_listed);
  if (!is_new && had_place && peer->lineage == message.lineage &&
      peer->generation >= message.generation &&
      !tally_.Of(Tally::kUnreachable).contains(message.from.member)) {
    return false;
  }
  if (peer->lineage != message.lineage) {
    // From none to one, or from one that it only waited for to another.
    peer->lineage = message.lineage;
    peer->generation = message.generation;
  } else {
    peer->generation = std::max(peer->generation, message.generation);
  }
  if (message.lineage.IsNone()) {
    know_a_job_.erase(message.from.member);
  } else {
    know_a_job_.insert(message.from.member);
  }
  Reassess(message.from.member);
  return is_new;
}

// True when it is to be answered: it begins to count on this one.
bool Membership::NoteStatus(const Message& message, const StatusMessage& status) {
  Peer* peer = peers_.Find(message.from);
  if (peer == nullptr) return false;
  if (peer->status.has_value() && status.sequence <= peer->status->sequence) return false;
  const bool begins_to_watch =
      status.watches && (!peer->status.has_value() || !peer->status->watches);
  lacks_changed_ |= !peer->status.has_value() || peer->status->hears != status.hears;
  bool is_news = peer->status_generation != message.generation ||
                 peer->status_lineage != message.lineage || !peer->status.has_value();
  if (!is_news) {
    StatusMessage same = *peer->status;
    same.sequence = status.sequence;
    is_news = same != status;
  }
  peer->status = status;
  peer->status_lineage = message.lineage;
  peer->status_generation = message.generation;
  if (is_news) Reassess(message.from.member);
  const bool is_listed = decision_ != nullptr && decision_->FindSupervisor(message.from) != nullptr;
  if (is_listed && status.installed && SpokeInThisGeneration(*peer)) installed_ = true;
  return begins_to_watch;
}

AgentReport Membership::ReportSelf() const {
  AgentReport report;
  report.worker = worker_.incarnation;
  report.witness = options_.witness;
  report.leaving = leaving_;
  report.entered = decision_ != nullptr && worker_.entered == decision_->generation;
  report.done = worker_.done;
  report.freezing = worker_.phase == Worker::Phase::kFreezing && now_ >= worker_.freezes_long;
  report.wants_generation = decision_ != nullptr && reported_broken_in_ == decision_->generation;
  return report;
}

// Whether `worker` is listed or, where none of its member is, wants in.
bool Membership::IsThere(const MemberProcess& worker) const {
  if (const ListedMember* listed = decision_->Find(worker.member)) {
    return listed->worker == worker.incarnation;
  }
  const Peer* peer = peers_.Find(worker.member);
  return peer != nullptr && peer->status.has_value() &&
         peer->status->agent.worker == worker.incarnation;
}

std::vector<MemberId> Membership::Lacks() const {
  if (decision_ == nullptr) return {};
  std::set<MemberId> lacks = tally_.Of(Tally::kUnreachable);
  for (const auto& [member, link] : broken_links_) {
    if (link.times >= kTimesUntilCut && now_ - link.last <= kBrokenLinkMemory && IsThere(link.to)) {
      lacks.insert(member);
    }
  }
  if (SelfListed() == nullptr) {
    // Who wants in makes sure that it is heard too.
    for (const MemberProcess& process : circle_) {
      const Peer* peer = peers_.Find(process);
      if (peer == nullptr || !SpokeInThisGeneration(*peer) || !peer->status->hears) {
        lacks.insert(process.member);
      }
    }
  }
  lacks.erase(options_.self);
  return {lacks.begin(), lacks.end()};
}

void Membership::SendStatusWhenDue() {
  // Soon, but not at once: one loss is seldom alone.
  if (std::exchange(lacks_changed_, false)) {
    news_due_ = std::min(news_due_, now_ + heartbeat_interval_ / 8);
  }
  if (ReportSelf() != last_report_ || now_ >= news_due_) SendNews();
  if (now_ >= next_heartbeat_) SendHeartbeat();
}

void Membership::SendStatusTo(const MemberProcess& to) {
  StatusMessage status;
  status.sequence = ++status_sequence_;
  status.agent = ReportSelf();
  status.agent.lacks = Lacks();
  status.promised_next = !acceptor_.promised().IsNone();
  status.installed = installed_;
  status.watches =
      is_watcher_ || std::any_of(circle_.begin(), circle_.end(), [&](const MemberProcess& process) {
        return process.member == to.member;
      });
  const Peer* peer = peers_.Find(to);
  status.hears = peer != nullptr && peers_.IsAlive(*peer, now_);
  Send(to, std::move(status));
}

// To the watchers.
void Membership::SendNews() {
  for (const MemberProcess& process : circle_) {
    const Peer* peer = peers_.Find(process);
    SendStatusTo(decision_ == nullptr && peer != nullptr ? peer->process : process);
  }
  last_report_ = ReportSelf();
  news_due_ = kNever;
}

void Membership::SendHeartbeat() {
  next_heartbeat_ = now_ + heartbeat_interval_;
  last_report_ = ReportSelf();
  news_due_ = kNever;
  std::set<MemberProcess> to(circle_.begin(), circle_.end());
  for (const auto& [member, peer] : peers_.all()) {
    const bool is_watched = peer.status.has_value() && peer.status->watches;
    if (is_watcher_ || (is_watched && peers_.IsAlive(peer, now_))) to.insert(peer.process);
  }
  for (const auto& [member, twin] : peers_.twins()) {
    if (is_watcher_ && peers_.IsAlive(twin, now_)) to.insert(twin.process);
  }
  if (!is_watcher_) AddOthersInTurn(to);
  if (decision_ == nullptr) {
    // By name, until somebody answers.
    std::erase_if(to, [this](const MemberProcess& process) {
      const Peer* peer = peers_.Find(process.member);
      return process.incarnation.IsNone() && peer != nullptr && !peer->process.incarnation.IsNone();
    });
  }
  for (const MemberProcess& process : to) SendStatusTo(process);
}

// The first in line, gone or not, and some of the others: should all that it knows have gone,
// somebody is there who knows more.
void Membership::AddOthersInTurn(std::set<MemberProcess>& to) {
  const bool is_settled = SelfListed() != nullptr && installed_ && !need_.has_value();
  std::vector<MemberProcess> others;
  if (decision_ != nullptr) {
    WatchLine line = LineOf(*decision_);
    while (!line.empty()) {
      if (static_cast<int>(others.size()) == options_.watchers && is_settled) break;
      const MemberId member = line.Next();
      others.push_back({member, decision_->Find(member)->supervisor});
    }
  }
  const int first = std::min(options_.watchers, static_cast<int>(others.size()));
  to.insert(others.begin(), others.begin() + first);
  if (!is_settled) {
    for (const auto& [member, peer] : peers_.all()) others.push_back(peer.process);
    for (int i = 0; i < options_.watchers && !others.empty(); ++i) {
      to.insert(others[turn_++ % others.size()]);
    }
  }
  to.erase(self());
}

// Who isn't a watcher can't count who has stored it, nor can who was voted out and waits for that.
void Membership::SendInstalled() {
  if (!is_watcher_) return;
  int place = 0;
  for (const MemberProcess& process : circle_) place += process.member < options_.self;
  if (place >= kFirstToTell) return;
  for (const ListedMember& listed : decision_->members) {
    const MemberProcess process{listed.member, listed.supervisor};
    if (process != self() && std::find(circle_.begin(), circle_.end(), process) == circle_.end() &&
        !SeemsGone(listed)) {
      SendStatusTo(process);
    }
  }
  for (const auto& [member, peer] : peers_.all()) {
    const bool is_listed = decision_->FindSupervisor(peer.process) != nullptr;
    if (!is_listed && peer.was_heard && peers_.IsAlive(peer, now_)) SendStatusTo(peer.process);
  }
}

}  // namespace closeranks::rendezvous
