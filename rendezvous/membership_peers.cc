#include "rendezvous/membership_peers.h"

#include <algorithm>
#include <cmath>

namespace closeranks::rendezvous {

void Peers::Expect(MemberId member) { peers_[member].process.member = member; }

Peer* Peers::Heard(const MemberProcess& process, TimePoint now, bool place_is_listed) {
  Peer& peer = peers_[process.member];
  if (peer.process != process) {
    if (place_is_listed && IsAlive(peer, now)) return nullptr;
    peer = Peer{};
    peer.process = process;
  } else {
    auto gap = static_cast<double>((now - peer.last_heard).count());
    // As TCP smooths its round trips: an eighth of the news for the mean, a quarter for the
    // deviation.
    peer.gap_deviation += (std::abs(gap - peer.gap_mean) - peer.gap_deviation) / 4;
    peer.gap_mean += (gap - peer.gap_mean) / 8;
  }
  peer.last_heard = now;
  peer.link_down = false;
  return &peer;
}

void Peers::LinkDown(const MemberProcess& process) {
  auto found = peers_.find(process.member);
  if (found != peers_.end() && found->second.process == process) found->second.link_down = true;
}

void Peers::Forgive(Duration pause) {
  for (auto& [member, peer] : peers_) peer.last_heard += pause;
}

Peer* Peers::Find(MemberId member) {
  auto found = peers_.find(member);
  return found == peers_.end() ? nullptr : &found->second;
}

const Peer* Peers::Find(MemberId member) const {
  auto found = peers_.find(member);
  return found == peers_.end() ? nullptr : &found->second;
}

const Peer* Peers::Find(const MemberProcess& process) const {
  const Peer* peer = Find(process.member);
  return peer != nullptr && peer->process == process ? peer : nullptr;
}

bool Peers::IsAlive(const MemberProcess& process, TimePoint now) const {
  const Peer* peer = Find(process);
  return peer != nullptr && IsAlive(*peer, now);
}

bool Peers::IsAlive(const Peer& peer, TimePoint now) const {
  return !peer.process.incarnation.IsNone() && !peer.link_down &&
         now - peer.last_heard < TimeoutOf(peer);
}

std::vector<MemberId> Peers::Hears(TimePoint now) const {
  std::vector<MemberId> hears;
  for (const auto& [member, peer] : peers_) {
    if (IsAlive(peer, now)) hears.push_back(member);
  }
  return hears;
}

TimePoint Peers::NextExpiry(TimePoint now) const {
  TimePoint next = kNever;
  for (const auto& [member, peer] : peers_) {
    if (IsAlive(peer, now)) next = std::min(next, peer.last_heard + TimeoutOf(peer));
  }
  return next;
}

Duration Peers::TimeoutOf(const Peer& peer) const {
  auto usual = Duration(static_cast<int64_t>(peer.gap_mean + 8 * peer.gap_deviation));
  return std::clamp(usual, timeout_, 4 * timeout_);
}

}  // namespace closeranks::rendezvous
