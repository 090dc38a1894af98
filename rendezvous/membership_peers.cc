#include "rendezvous/membership_peers.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace closeranks::rendezvous {

void Peers::Expect(MemberId member) { peers_[member].process.member = member; }

void Peers::CountOn(const MemberProcess& process, TimePoint now) {
  Peer& peer = peers_[process.member];
  if (peer.process.incarnation.IsNone()) peer.process = process;
  if (peer.process != process || peer.counted_on) return;
  peer.counted_on = true;
  peer.last_heard = std::max(peer.last_heard, now);
  NoteExpiry(peer);
}

Peer& Peers::Heard(const MemberProcess& process, TimePoint now, bool place_is_listed) {
  Peer& place = peers_[process.member];
  if (place.process.incarnation.IsNone()) place.process = process;
  const bool is_twin = place.process != process && place_is_listed && IsAlive(place, now);
  if (place.process != process) {
    Peer& twin = twins_[process.member];
    if (twin.process != process) {
      twin = Peer{};
      twin.process = process;
    }
    if (!is_twin) std::swap(place, twin);
  }
  Peer& peer = is_twin ? twins_[process.member] : place;
  if (peer.was_heard) {
    auto gap = static_cast<double>((now - peer.last_heard).count());
    // As TCP smooths its round trips: an eighth of the news for the mean, a quarter for the
    // deviation.
    peer.gap_deviation += (std::abs(gap - peer.gap_mean) - peer.gap_deviation) / 4;
    peer.gap_mean += (gap - peer.gap_mean) / 8;
  }
  peer.was_heard = true;
  peer.last_heard = now;
  peer.link_down = false;
  NoteExpiry(peer);
  return peer;
}

void Peers::ListedAre(const Decision& decision) {
  for (const ListedMember& listed : decision.members) {
    const MemberProcess process{listed.member, listed.supervisor};
    auto place = peers_.find(listed.member);
    if (place == peers_.end() || place->second.process == process ||
        !decision.IsDisplaced(place->second.process)) {
      continue;
    }
    const Peer* twin = Find(process);
    Peer successor = twin == nullptr ? Peer{} : *twin;
    successor.process = process;
    place->second = successor;
    twins_.erase(listed.member);
  }
}

void Peers::LinkDown(const MemberProcess& process) {
  Peer& place = peers_[process.member];
  if (place.process.incarnation.IsNone()) place.process = process;
  if (Peer* peer = Find(process)) peer->link_down = true;
}

void Peers::Forgive(Duration pause) {
  for (auto& [member, peer] : peers_) peer.last_heard += pause;
  for (auto& [member, peer] : twins_) peer.last_heard += pause;
  if (next_expiry_ != kNever) next_expiry_ += pause;
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
  const Peer* place = Find(process.member);
  if (place != nullptr && place->process == process) return place;
  auto twin = twins_.find(process.member);
  return twin != twins_.end() && twin->second.process == process ? &twin->second : nullptr;
}

Peer* Peers::Find(const MemberProcess& process) {
  return const_cast<Peer*>(std::as_const(*this).Find(process));
}

bool Peers::IsAlive(const MemberProcess& process, TimePoint now) const {
  const Peer* peer = Find(process);
  return peer != nullptr && IsAlive(*peer, now);
}

bool Peers::IsAlive(const Peer& peer, TimePoint now) const {
  return (peer.was_heard || peer.counted_on) && !peer.link_down &&
         now - peer.last_heard < TimeoutOf(peer);
}

void Peers::FindNextExpiry(TimePoint now) {
  next_expiry_ = kNever;
  for (const auto& [member, peer] : peers_) {
    if (IsAlive(peer, now)) NoteExpiry(peer);
  }
}

Duration Peers::TimeoutOf(const Peer& peer) const {
  auto usual = Duration(static_cast<int64_t>(peer.gap_mean + 8 * peer.gap_deviation));
  return std::clamp(usual, timeout_, 4 * timeout_);
}

void Peers::NoteExpiry(const Peer& peer) {
  next_expiry_ = std::min(next_expiry_, peer.last_heard + TimeoutOf(peer));
}

}  // namespace closeranks::rendezvous
