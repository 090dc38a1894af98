#include "rendezvous/membership_peers.h"

#include <algorithm>
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
  // What came of a broken link tells nothing of how heartbeats arrive.
  if (peer.was_heard && !peer.link_down) {
    const Duration silence = now - peer.last_heard;
    if (IsAlive(peer, now)) longest_silence_ = std::max(longest_silence_, silence);
    peer.detector.Heard(silence, bounds_);
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
    if (place == peers_.end() || place->second.process.incarnation.IsNone() ||
        place->second.process == process) {
      continue;
    }
    const Peer* twin = Find(process);
    Peer successor = twin == nullptr ? Peer{} : *twin;
    successor.process = process;
    const Peer other = std::exchange(place->second, std::move(successor));
    twins_.erase(listed.member);
    if (!decision.IsDisplaced(other.process)) twins_.emplace(listed.member, other);
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
         now - peer.last_heard < peer.detector.Patience(bounds_);
}

void Peers::SetBounds(const FailureDetector::Bounds& bounds) {
  bounds_ = bounds;
  next_expiry_ = TimePoint{};  // to be found anew
}

void Peers::FindNextExpiry(TimePoint now) {
  next_expiry_ = kNever;
  for (const auto& [member, peer] : peers_) {
    if (IsAlive(peer, now)) NoteExpiry(peer);
  }
}

void Peers::NoteExpiry(const Peer& peer) {
  next_expiry_ = std::min(next_expiry_, peer.last_heard + peer.detector.Patience(bounds_));
}

}  // namespace closeranks::rendezvous
