// Who is out there: for each other member the process that has its place, when it was last heard,
// what it knows and what it last said about itself. And where a member runs twice, the same of the
// other one, its twin.
//
// Hints only: nothing here is needed for safety. Single-threaded.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PEERS_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PEERS_H_

#include <map>
#include <optional>

#include "base/clock.h"
#include "base/member.h"
#include "rendezvous/failure_detector.h"
#include "rendezvous/messages.h"

namespace closeranks::rendezvous {

struct Peer {
  MemberProcess process;  // no incarnation: nobody was heard yet
  bool was_heard = false;
  bool link_down = false;
  bool counted_on = false;  // to be heard: see Peers::CountOn
  TimePoint last_heard{};
  // The newest decision that it has stored.
  Incarnation lineage;
  Generation generation = 0;
  std::optional<StatusMessage> status;
  // What it knew when it sent that status.
  Incarnation status_lineage;
  Generation status_generation = 0;
  // The last time that it was voted out, and that it was to be listed again at once.
  std::optional<TimePoint> voted_out_at;
  std::optional<TimePoint> let_in_at;
  // What it was last sent out of turn, and when: not more often than it can answer.
  Generation told_generation = 0;
  TimePoint told_at{};
  TimePoint asked_at{};
  FailureDetector detector;
};

class Peers {
 public:
  // Silence makes a peer unreachable, after what its failure detector says within these bounds.
  explicit Peers(const FailureDetector::Bounds& bounds) : bounds_(bounds) {}
  // From now on.
  void SetBounds(const FailureDetector::Bounds& bounds);

  // A member that may exist, so that it is greeted.
  void Expect(MemberId member);
  // From now on `process` is to be heard: from the time that it is first counted on it has
  // that long. Of no effect while another process of the same member is in its place.
  void CountOn(const MemberProcess& process, TimePoint now);
  // `process` was heard. Where another process of its member has the place, is listed and was heard
  // lately, that one keeps it, and `process` is its twin; else they change places.
  Peer& Heard(const MemberProcess& process, TimePoint now, bool place_is_listed);
  // Whoever is listed gets its member's place, with what is known of it. Who had that place is its
  // twin, unless it was displaced.
  void ListedAre(const Decision& decision);
  // Also of one that was never heard: a closed link tells of more than whom this one listens to.
  void LinkDown(const MemberProcess& process);
  // This process did nothing for `pause`: nobody else is to blame for that silence.
  void Forgive(Duration pause);

  Peer* Find(MemberId member);
  const Peer* Find(MemberId member) const;
  // Exactly this process, in its member's place or as a twin; else null.
  Peer* Find(const MemberProcess& process);
  const Peer* Find(const MemberProcess& process) const;
  bool IsAlive(const MemberProcess& process, TimePoint now) const;
  bool IsAlive(const Peer& peer, TimePoint now) const;

  // Nobody becomes unreachable by silence before this.
  TimePoint next_expiry() const { return next_expiry_; }
  // Looks through all for the next such time after `now`.
  void FindNextExpiry(TimePoint now);

  // After which somebody was heard again who was still alive.
  Duration longest_silence() const { return longest_silence_; }

  std::map<MemberId, Peer>& all() { return peers_; }
  const std::map<MemberId, Peer>& all() const { return peers_; }
  // Some may be long gone.
  const std::map<MemberId, Peer>& twins() const { return twins_; }

 private:
  void NoteExpiry(const Peer& peer);

  FailureDetector::Bounds bounds_;
  TimePoint next_expiry_ = kNever;
  Duration longest_silence_{};
  std::map<MemberId, Peer> peers_;
  std::map<MemberId, Peer> twins_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PEERS_H_
