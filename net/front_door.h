// The one listening port of a pod: reads who a connection is for, and hands it on.
#ifndef CLOSERANKS_NET_FRONT_DOOR_H_
#define CLOSERANKS_NET_FRONT_DOOR_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "net/address.h"
#include "net/call_limit.h"
#include "net/loop.h"
#include "net/network.h"
#include "net/preamble.h"
#include "net/socket.h"

namespace closeranks::net {

// Single-threaded, on its loop. Every connection is routed, or dropped for a counted reason within
// the time limit: nobody can hold the door open, or fill it so that others don't get through.
class FrontDoor {
 public:
  struct Options {
    uint64_t job_hash = 0;
    // For the whole preamble, from the moment a connection is accepted.
    Duration preamble_limit = std::chrono::seconds(5);
    // Beyond it somebody goes: of the caller that has the most, the one that has waited longest,
    // as those of ours speak at once.
    size_t max_pending = 256;
    // Of each caller: what it does beyond it is closed at once. Ours call again.
    CallLimit::Options calls = {};
    // The same of those that are for the supervisor itself, which has to shake hands with them.
    CallLimit::Options membership_calls = {};
  };
  struct Counts {
    uint64_t accepted = 0;
    uint64_t routed = 0;
    uint64_t garbage = 0;       // dropped: not a preamble of this version
    uint64_t other_job = 0;     // dropped: data meant for another job
    uint64_t closed_early = 0;  // dropped: ended or failed within the preamble
    uint64_t too_slow = 0;      // dropped: over preamble_limit
    uint64_t crowded_out = 0;   // dropped: over max_pending
    uint64_t too_often = 0;     // dropped: over the limit of calls
  };
  // `socket` has been read to the end of the preamble and not a byte further. A membership
  // connection may be of another job: that is for the handshake to say. May destroy the door.
  using Route = std::function<void(const Preamble& preamble, std::unique_ptr<Socket> socket)>;

  // Listens on `address`; errors are those of Network::Listen. `loop` and `network` outlive
  // it.
  static Result<std::unique_ptr<FrontDoor>> Open(Loop& loop, Network& network,
                                                 const Address& address, Options options,
                                                 Route route);
  // Drops those that haven't said who they want.
  ~FrontDoor();
  FrontDoor(const FrontDoor&) = delete;
  FrontDoor& operator=(const FrontDoor&) = delete;

  const Address& address() const { return listener_->address(); }
  const Counts& counts() const { return counts_; }
  size_t pending() const { return pending_.size(); }

 private:
  struct Pending {
    std::unique_ptr<Socket> socket;
    Address peer;
    std::array<char, kPreambleBytes> bytes;
    size_t received = 0;
    TimerId limit = kNoTimer;
  };
  using Place = std::list<Pending>::iterator;

  FrontDoor(Loop& loop, Options options, Route route);

  void OnAccept(std::unique_ptr<Socket> socket, const Address& peer);
  void OnReady(Place place);
  void Decide(Place place);
  void Drop(Place place, uint64_t& count, const Status& why);
  Pending TakeOut(Place place);

  Loop& loop_;
  const Options options_;
  std::shared_ptr<Route> route_;
  std::unique_ptr<Listener> listener_;
  CallLimit calls_;
  CallLimit membership_calls_;
  std::list<Pending> pending_;  // the oldest first
  Counts counts_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_FRONT_DOOR_H_
