// Two processes' ends of a connection, both in this one: for simulations. Time and luck are the
// caller's.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_SIMULATED_TRANSPORT_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_SIMULATED_TRANSPORT_H_

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/member.h"
#include "base/random.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

// Messages arrive in order, each after a delay drawn from `random`. Nothing happens but in Poll,
// and that depends only on the clock: the same seed gives the same run. Single-threaded, without
// descriptors: drive the engines by PollOnce.
class SimulatedLink {
 public:
  struct Options {
    Duration min_delay = std::chrono::microseconds(10);
    Duration max_delay = std::chrono::microseconds(100);
    // One message in so many never arrives; 0: all do. (What a real transport's bug or a peer's
    // would do: no stream loses a message by itself.)
    uint64_t lose_one_in = 0;
  };

  // End 0 is in the process `first`, and so its peer is `second`. Clock and random outlive the
  // link, the link outlives the use of its ends.
  SimulatedLink(const MemberProcess& first, const MemberProcess& second, const Clock& clock,
                Random& random, const Options& options);
  ~SimulatedLink();

  Transport& end(int which);

  // The process at this end is dead: what it had sent still arrives, then the other end fails
  // (kPeerLost).
  void Kill(int which);
  // Nothing that is sent from now until Unclog arrives before it; nobody is told. What was under
  // way arrives.
  void Clog();
  void Unclog();
  // When the next message is due to arrive (kNever: none is under way): up to then polling changes
  // nothing.
  TimePoint NextArrival() const;

 private:
  class End;
  struct Direction;

  std::unique_ptr<Direction> directions_[2];  // [i]: towards end i
  std::unique_ptr<End> ends_[2];
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_SIMULATED_TRANSPORT_H_
