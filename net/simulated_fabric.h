// The wires between simulated hosts, and what can go wrong with them.
#ifndef CLOSERANKS_NET_SIMULATED_FABRIC_H_
#define CLOSERANKS_NET_SIMULATED_FABRIC_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/simulated_world.h"

namespace closeranks::net {

class SimulatedListener;
class SimulatedNetwork;
class SimulatedSocket;

// Connections are streams of bytes: what arrives, arrives in order, once and unharmed, cut into
// segments; so the faults are lateness, silence and ends. All of them compose. A connection's
// buffer is bounded (by a size that is drawn), so whoever sends to one that doesn't read has to
// wait. A direction is a pair of host names, from and to; a host may have a wire to itself too.
// Lives longer than the networks on it, shorter than the world. Single-threaded.
class SimulatedFabric {
 public:
  explicit SimulatedFabric(SimulatedWorld& world);
  ~SimulatedFabric();
  SimulatedFabric(const SimulatedFabric&) = delete;
  SimulatedFabric& operator=(const SimulatedFabric&) = delete;

  SimulatedWorld& world() { return world_; }

  // How long a segment takes, drawn for each. 50 to 200 us where nothing was set.
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
  // A segment that is about to arrive resets its connection instead, once in `segments` segments
  // on average; 0: never.
  void set_reset_once_in(uint64_t segments) { reset_once_in_ = segments; }

  // SIGSTOP and SIGCONT: the process neither reads nor runs timers; its kernel goes on accepting
  // connections and receiving for it, as far as the buffers reach. Then all of it at once.
  void Stop(SimulatedProcess& process);
  void Continue(SimulatedProcess& process);

  // SIGKILL: no handler and no timer of it runs any more, what it still sends goes nowhere, and its
  // kernel closes its connections within some milliseconds. Its objects can be destroyed any time
  // later.
  void Kill(SimulatedProcess& process);
  // Loss of power: the same, but nobody is told.
  void Vanish(SimulatedProcess& process);

  // Undoes every Clog and Cut and set_reset_once_in; delays and dead processes stay.
  void HealEverything();

  // For whoever waits for simulated descriptors by other means than a SimulatedLoop: what
  // `descriptor`, which is unique in the world, is ready for now; nothing once it is closed.
  Ready ReadinessOf(int descriptor) const;
  // Calls `on_change` whenever that may have changed, also from inside calls of the socket: it must
  // only take note.
  using ObserverId = uint64_t;
  ObserverId Observe(int descriptor, std::function<void()> on_change);
  void EndObserving(ObserverId id);

  // The connections' ends that `process` holds open.
  size_t OpenSockets(const SimulatedProcess& process) const;

  uint64_t segments_delivered() const { return segments_delivered_; }
  uint64_t segments_lost() const { return segments_lost_; }
  uint64_t resets() const { return resets_; }

 private:
  friend class SimulatedListener;
  friend class SimulatedNetwork;
  friend class SimulatedSocket;

  using Direction = std::pair<std::string, std::string>;  // from, to

  struct Item {
    enum class Kind { kBytes, kEnd, kReset };
    Kind kind;
    TimePoint arrives;
    std::string bytes;
    std::unique_ptr<SimulatedSocket> passed;
  };
  // What one end has sent and the other hasn't received.
  struct Stream {
    std::deque<Item> items;
    size_t bytes = 0;      // sent and not yet read; lost ones too, which a real sender would keep
    bool has_gap = false;  // something was lost: nothing behind it arrives
    bool is_mute = false;  // its sender has no power any more
    TimePoint last_arrival;
    TimerId pump = kNoTimer;
  };
  struct Connection {
    uint64_t id;
    std::array<std::string, 2> hosts;
    bool passes_sockets = false;
    size_t capacity;                         // of each direction, in bytes
    std::array<SimulatedSocket*, 2> ends{};  // null once destroyed
    std::array<Stream, 2> streams;           // [side] is what ends[side] sends
  };
  using Connections = std::map<uint64_t, std::shared_ptr<Connection>>;

  Duration DrawDelay(const std::string& from, const std::string& to);
  bool IsClogged(const Direction& direction) const { return clogged_.contains(direction); }
  bool IsCut(const Direction& direction) const { return cut_.contains(direction); }
  // Neither a request to connect nor its answer is stopped on the way.
  bool CanConnect(const std::string& from, const std::string& to) const;

  std::shared_ptr<Connection> MakeConnection(const std::string& from, const std::string& to);
  void Put(Connection& connection, int side, Item::Kind kind, std::string bytes = {},
           std::unique_ptr<SimulatedSocket> passed = {}, Duration extra_delay = {});
  // The other end has read so much of what `side` sent.
  void OnTaken(Connection& connection, int side, size_t bytes);
  // The stream may have become able to move; nothing arrives from within.
  void SchedulePump(Connection& connection, int side);
  void PumpAll();
  void Pump(uint64_t connection_id, int side);
  void Deliver(Connection& connection, int side, Item item);
  void Lose(Stream& stream);
  void Reset(Connection& connection);
  // `side` has closed its socket. `with_unread`: there was, or is to come, something that it didn't
  // read, so that the peer sees a reset, and perhaps not all that was sent before.
  void CloseEnd(Connection& connection, int side, bool with_unread, bool has_finished,
                Duration extra_delay = {});
  void ForgetEnd(Connection& connection, int side);
  void EndProcess(SimulatedProcess& process, bool peers_are_told);
  void NotifyObservers(int descriptor);
  // Not within the calls in progress: its end may end other connections.
  void DestroyLater(std::unique_ptr<SimulatedSocket> socket);
  void DestroyDoomed();

  SimulatedWorld& world_;
  std::map<Direction, std::pair<Duration, Duration>> delays_;
  std::set<Direction> clogged_;
  std::set<Direction> cut_;
  uint64_t reset_once_in_ = 0;
  uint64_t segments_delivered_ = 0;
  uint64_t segments_lost_ = 0;
  uint64_t resets_ = 0;

  uint64_t next_connection_ = 1;
  Connections connections_;
  std::map<Address, SimulatedListener*> listeners_;
  // A host that has none doesn't even refuse.
  std::set<SimulatedNetwork*> networks_;

  int next_descriptor_ = 1000;
  std::map<int, SimulatedSocket*> sockets_;  // by descriptor
  struct Observer {
    int descriptor;
    std::function<void()> on_change;
  };
  ObserverId next_observer_ = 1;
  std::map<ObserverId, Observer> observers_;
  std::map<int, std::set<ObserverId>> observers_of_;
  std::vector<std::unique_ptr<SimulatedSocket>> doomed_;
  TimerId doom_ = kNoTimer;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_FABRIC_H_
