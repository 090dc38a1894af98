// The wires between simulated hosts, and what can go wrong with them.
#ifndef CLOSERANKS_NET_SIMULATED_FABRIC_H_
#define CLOSERANKS_NET_SIMULATED_FABRIC_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "net/address.h"
#include "net/frame.h"
#include "net/simulated_world.h"

namespace closeranks::net {

class SimulatedLink;
class SimulatedListener;
class SimulatedNetwork;

// Connections are streams of frames: what arrives, arrives in order, once and unharmed; so the
// faults are lateness, silence and ends. All of them compose. A direction is a pair of host names,
// from and to; a host may have a wire to itself too. Lives longer than the networks on it, shorter
// than the world. Single-threaded.
class SimulatedFabric {
 public:
  explicit SimulatedFabric(SimulatedWorld& world) : world_(world) {}
  SimulatedFabric(const SimulatedFabric&) = delete;
  SimulatedFabric& operator=(const SimulatedFabric&) = delete;

  SimulatedWorld& world() { return world_; }

  // How long a frame takes, drawn for each. 50 to 200 us where nothing was set.
  void SetDelay(const std::string& from, const std::string& to, Duration least, Duration most);

  // Nothing arrives, and nothing is lost: it all arrives after Unclog. Connecting waits too.
  void Clog(const std::string& from, const std::string& to);
  void Unclog(const std::string& from, const std::string& to);

  // A one-way partition: what is sent or on its way is lost, ends of connections included, so that
  // the other end stays half-open. As a stream can't go on behind a gap, a connection that has lost
  // something stays silent in that direction, and Heal resets it.
  void Cut(const std::string& from, const std::string& to);
  void Heal(const std::string& from, const std::string& to);
  void CutBoth(const std::string& one, const std::string& other);
  void HealBoth(const std::string& one, const std::string& other);

  // Resets every connection between the two, whichever side made it; what is on its way is lost.
  void ResetConnections(const std::string& one, const std::string& other);
  // A frame that is about to arrive resets its connection instead, once in `frames` frames on
  // average; 0: never.
  void set_reset_once_in(uint64_t frames) { reset_once_in_ = frames; }

  // SIGSTOP and SIGCONT: the process neither receives nor runs timers; its kernel goes on accepting
  // connections for it. Then all of it at once.
  void Stop(SimulatedProcess& process);
  void Continue(SimulatedProcess& process);

  // SIGKILL: no handler and no timer of it runs any more, what it still sends goes nowhere, and its
  // kernel closes its connections. Its objects can be destroyed any time later.
  void Kill(SimulatedProcess& process);
  // Loss of power: the same, but nobody is told.
  void Vanish(SimulatedProcess& process);

  // Undoes every Clog and Cut and set_reset_once_in; delays and dead processes stay.
  void HealEverything();

  uint64_t frames_delivered() const { return frames_delivered_; }
  uint64_t frames_lost() const { return frames_lost_; }
  uint64_t resets() const { return resets_; }

 private:
  friend class SimulatedLink;
  friend class SimulatedListener;
  friend class SimulatedNetwork;

  using Direction = std::pair<std::string, std::string>;  // from, to

  struct Item {
    enum class Kind { kFrame, kEnd, kReset };
    Kind kind;
    TimePoint arrives;
    Frame frame;
  };
  // What one end has sent and the other hasn't received.
  struct Stream {
    std::deque<Item> items;
    size_t bytes = 0;      // of frames in items or lost, which a real sender would keep too
    bool has_gap = false;  // something was lost: nothing behind it arrives
    bool is_mute = false;  // its sender has no power any more
    TimePoint last_arrival;
    TimerId pump = kNoTimer;
  };
  struct Connection {
    uint64_t id;
    std::array<std::string, 2> hosts;
    std::array<SimulatedLink*, 2> ends{};  // null once destroyed
    std::array<Stream, 2> streams;         // [side] is what ends[side] sends
  };

  Duration DrawDelay(const std::string& from, const std::string& to);
  bool IsClogged(const Direction& direction) const { return clogged_.contains(direction); }
  bool IsCut(const Direction& direction) const { return cut_.contains(direction); }
  // Neither a request to connect nor its answer is stopped on the way.
  bool CanConnect(const std::string& from, const std::string& to) const;

  std::shared_ptr<Connection> MakeConnection(const std::string& from, const std::string& to);
  void Put(Connection& connection, int side, Item::Kind kind, Frame frame = {});
  // The stream may have become able to move; nothing arrives from within.
  void SchedulePump(Connection& connection, int side);
  void PumpAll();
  void Pump(uint64_t connection_id, int side);
  void Lose(Stream& stream);
  void Reset(Connection& connection);
  // `side` has closed its socket: the first `items_kept` of what is on the way still arrive.
  void CloseEnd(Connection& connection, int side, size_t items_kept);
  void ForgetEnd(Connection& connection, int side);
  void EndProcess(SimulatedProcess& process, bool peers_are_told);

  SimulatedWorld& world_;
  std::map<Direction, std::pair<Duration, Duration>> delays_;
  std::set<Direction> clogged_;
  std::set<Direction> cut_;
  uint64_t reset_once_in_ = 0;
  uint64_t frames_delivered_ = 0;
  uint64_t frames_lost_ = 0;
  uint64_t resets_ = 0;

  uint64_t next_connection_ = 1;
  std::map<uint64_t, std::shared_ptr<Connection>> connections_;
  std::map<Address, SimulatedListener*> listeners_;
  // A host that has none doesn't even refuse.
  std::set<SimulatedNetwork*> networks_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_FABRIC_H_
