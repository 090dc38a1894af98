// How long a peer may be silent before it is suspected: a failure detector that adapts to how
// evenly the peer's heartbeats arrive, so that a quiet network gets a short patience and a machine
// that is too busy a long one.
//
// As in Chen, Toueg and Aguilera, "On the quality of service of failure detectors" (2002), it is
// the time until the next heartbeat is expected, and a margin. The margin comes from the smoothed
// mean deviation, as Bertier, Marin and Sens have it ("Implementation and performance evaluation of
// an adaptable failure detector", 2002) from Jacobson's round trips of TCP (1988). Beyond those
// papers the longest silence lately counts: what holds heartbeats up on a machine that is too busy
// comes seldom and in bursts, and means forget it within seconds.
//
// Pure and constant in time and space; one for each peer.
#ifndef CLOSERANKS_RENDEZVOUS_FAILURE_DETECTOR_H_
#define CLOSERANKS_RENDEZVOUS_FAILURE_DETECTOR_H_

#include "base/clock.h"

namespace closeranks::rendezvous {

class FailureDetector {
 public:
  struct Bounds {
    Duration interval{};  // at which the peer sends heartbeats
    Duration least{};     // of the patience; at most `most`
    Duration most{};
  };

  // The peer was heard after this silence. One that is shorter than half an interval was ended by a
  // message out of turn, and one longer than `most` was an outage: of how heartbeats arrive neither
  // tells anything. Of one that is longer than twice the patience, so much counts: it may have been
  // an outage, after which the next one is to be noticed nearly as soon; and if the machine is so
  // busy, two or three of them are enough to have the patience that it takes.
  void Heard(Duration silence, const Bounds& bounds);

  // A silence of this length makes the peer suspect. Of one that is hardly known yet it is at least
  // a quarter of `most`.
  Duration Patience(const Bounds& bounds) const;

 private:
  int heartbeats_ = 0;  // as far as that matters
  // Of the silences between heartbeats, in nanoseconds.
  double mean_ = 0;
  double deviation_ = 0;
  double longest_ = 0;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_FAILURE_DETECTOR_H_
