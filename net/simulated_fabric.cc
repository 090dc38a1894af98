#include "net/simulated_fabric.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "glog/logging.h"
#include "net/simulated_socket.h"

namespace closeranks::net {
namespace {

constexpr Duration kLeastDelay = std::chrono::microseconds(50);
constexpr Duration kMostDelay = std::chrono::microseconds(200);
// Buffers of 4 KiB to 256 KiB.
constexpr size_t kLeastCapacity = 4 << 10;
constexpr uint64_t kCapacities = 7;
// Until the kernel has taken a killed process apart and closes its sockets.
constexpr Duration kMostDying = std::chrono::milliseconds(20);

}  // namespace

SimulatedFabric::SimulatedFabric(SimulatedWorld& world) : world_(world) {}

SimulatedFabric::~SimulatedFabric() {
  for (const auto& [id, connection] : Connections(connections_)) {
    for (Stream& stream : connection->streams) Lose(stream);
  }
  while (!doomed_.empty()) DestroyDoomed();
}

void SimulatedFabric::SetDelay(const std::string& from, const std::string& to, Duration least,
                               Duration most) {
  delays_[{from, to}] = {least, most};
}

Duration SimulatedFabric::DrawDelay(const std::string& from, const std::string& to) {
  const auto found = delays_.find({from, to});
  if (found == delays_.end()) return world_.DrawBetween(kLeastDelay, kMostDelay);
  return world_.DrawBetween(found->second.first, found->second.second);
}

void SimulatedFabric::Clog(const std::string& from, const std::string& to) {
  clogged_.insert({from, to});
}

void SimulatedFabric::Unclog(const std::string& from, const std::string& to) {
  clogged_.erase({from, to});
  PumpAll();
}

void SimulatedFabric::Cut(const std::string& from, const std::string& to) {
  cut_.insert({from, to});
  // What is on its way finds the cut when it would arrive.
  PumpAll();
}

void SimulatedFabric::Heal(const std::string& from, const std::string& to) {
  if (cut_.erase({from, to}) == 0) return;
  for (const auto& [id, connection] : Connections(connections_)) {
    for (int side : {0, 1}) {
      if (connection->streams[side].has_gap && connection->hosts[side] == from &&
          connection->hosts[1 - side] == to) {
        Reset(*connection);
      }
    }
  }
}

void SimulatedFabric::CutBoth(const std::string& one, const std::string& other) {
  Cut(one, other);
  Cut(other, one);
}

void SimulatedFabric::HealBoth(const std::string& one, const std::string& other) {
  Heal(one, other);
  Heal(other, one);
}

void SimulatedFabric::HealEverything() {
  clogged_.clear();
  reset_once_in_ = 0;
  while (!cut_.empty()) {
    const Direction direction = *cut_.begin();
    Heal(direction.first, direction.second);
  }
  PumpAll();
}

void SimulatedFabric::ResetConnections(const std::string& one, const std::string& other) {
  for (const auto& [id, connection] : Connections(connections_)) {
    const auto& [first, second] = connection->hosts;
    if ((first == one && second == other) || (first == other && second == one)) {
      Reset(*connection);
    }
  }
}

void SimulatedFabric::Stop(SimulatedProcess& process) { process.Stop(); }

void SimulatedFabric::Continue(SimulatedProcess& process) {
  process.Continue();
  PumpAll();
}

void SimulatedFabric::Kill(SimulatedProcess& process) { EndProcess(process, true); }

void SimulatedFabric::Vanish(SimulatedProcess& process) { EndProcess(process, false); }

void SimulatedFabric::EndProcess(SimulatedProcess& process, bool peers_are_told) {
  process.Kill();
  for (const auto& [id, connection] : Connections(connections_)) {
    for (int side : {0, 1}) {
      SimulatedSocket* end = connection->ends[side];
      if (end == nullptr || end->process() != &process) continue;
      if (peers_are_told) {
        const Duration dying = world_.DrawBetween(Duration::zero(), kMostDying);
        CloseEnd(*connection, side, end->readiness().readable, false, dying);
      } else {
        connection->streams[side].is_mute = true;
        Lose(connection->streams[side]);
      }
    }
  }
}

bool SimulatedFabric::CanConnect(const std::string& from, const std::string& to) const {
  const Direction there(from, to);
  const Direction back(to, from);
  return !IsCut(there) && !IsCut(back) && !IsClogged(there) && !IsClogged(back);
}

std::shared_ptr<SimulatedFabric::Connection> SimulatedFabric::MakeConnection(
    const std::string& from, const std::string& to) {
  auto connection = std::make_shared<Connection>();
  connection->id = next_connection_++;
  connection->hosts = {from, to};
  connection->capacity = kLeastCapacity << world_.random().Below(kCapacities);
  connections_[connection->id] = connection;
  return connection;
}

void SimulatedFabric::Put(Connection& connection, int side, Item::Kind kind, std::string bytes,
                          std::unique_ptr<SimulatedSocket> passed, Duration extra_delay) {
  Stream& stream = connection.streams[side];
  stream.bytes += bytes.size();
  if (stream.has_gap) {
    segments_lost_ += kind == Item::Kind::kBytes;
    return DestroyLater(std::move(passed));
  }
  const std::string& from = connection.hosts[side];
  const std::string& to = connection.hosts[1 - side];
  const TimePoint arrives = world_.Now() + DrawDelay(from, to) + extra_delay;
  stream.last_arrival = std::max(stream.last_arrival, arrives);
  stream.items.push_back({kind, stream.last_arrival, std::move(bytes), std::move(passed)});
  SchedulePump(connection, side);
}

void SimulatedFabric::OnTaken(Connection& connection, int side, size_t bytes) {
  connection.streams[side].bytes -= bytes;
  SimulatedSocket* sender = connection.ends[side];
  if (sender != nullptr) NotifyObservers(sender->descriptor());
}

void SimulatedFabric::SchedulePump(Connection& connection, int side) {
  Stream& stream = connection.streams[side];
  if (stream.pump != kNoTimer || stream.items.empty()) return;
  stream.pump = world_.RunAt(stream.items.front().arrives,
                             [this, id = connection.id, side] { Pump(id, side); });
}

void SimulatedFabric::PumpAll() {
  for (const auto& [id, connection] : Connections(connections_)) {
    for (int side : {0, 1}) SchedulePump(*connection, side);
  }
}

// Delivers the first item of a stream, unless something is in the way. One at a time, so that the
// streams interleave.
void SimulatedFabric::Pump(uint64_t connection_id, int side) {
  const auto found = connections_.find(connection_id);
  if (found == connections_.end()) return;
  // Shared: a handler may destroy both ends, and with them the connection.
  const std::shared_ptr<Connection> connection = found->second;
  Stream& stream = connection->streams[side];
  stream.pump = kNoTimer;
  if (stream.items.empty()) return;
  const Direction direction(connection->hosts[side], connection->hosts[1 - side]);
  if (IsCut(direction) || connection->streams[1 - side].is_mute) return Lose(stream);
  if (IsClogged(direction)) return;  // Unclog schedules the pump again

  Item item = std::move(stream.items.front());
  stream.items.pop_front();
  if (item.kind == Item::Kind::kBytes && reset_once_in_ > 0 &&
      world_.random().OneIn(reset_once_in_)) {
    ++segments_lost_;
    DestroyLater(std::move(item.passed));
    return Reset(*connection);
  }
  SchedulePump(*connection, side);
  Deliver(*connection, side, std::move(item));
}

void SimulatedFabric::Deliver(Connection& connection, int side, Item item) {
  SimulatedSocket* receiver = connection.ends[1 - side];
  const bool is_dead = receiver != nullptr && receiver->IsDead();
  if (is_dead) receiver = nullptr;
  switch (item.kind) {
    case Item::Kind::kBytes: {
      if (receiver != nullptr) {
        ++segments_delivered_;
        return receiver->OnBytes(std::move(item.bytes), std::move(item.passed));
      }
      ++segments_lost_;
      DestroyLater(std::move(item.passed));
      // Nobody has that end any more, and the kernel says so, unless it is about to anyhow.
      const bool is_dying = is_dead && !connection.streams[1 - side].items.empty();
      if (!is_dying) Put(connection, 1 - side, Item::Kind::kReset);
      return;
    }
    case Item::Kind::kEnd:
      if (receiver != nullptr) receiver->OnEnd();
      return;
    case Item::Kind::kReset:
      if (receiver != nullptr) receiver->OnReset();
      return;
  }
}

// The bytes stay counted, as a real sender would keep what isn't acknowledged.
void SimulatedFabric::Lose(Stream& stream) {
  for (Item& item : stream.items) {
    segments_lost_ += item.kind == Item::Kind::kBytes;
    DestroyLater(std::move(item.passed));
  }
  stream.items.clear();
  stream.has_gap = true;
}

void SimulatedFabric::Reset(Connection& connection) {
  ++resets_;
  for (int side : {0, 1}) {
    Stream& stream = connection.streams[side];
    Lose(stream);
    stream.has_gap = stream.is_mute;
    Put(connection, side, Item::Kind::kReset);
  }
}

void SimulatedFabric::CloseEnd(Connection& connection, int side, bool with_unread,
                               bool has_finished, Duration extra_delay) {
  Stream& stream = connection.streams[side];
  if (with_unread) {
    const size_t kept = world_.random().Below(stream.items.size() + 1);
    while (stream.items.size() > kept) {
      Item& last = stream.items.back();
      segments_lost_ += last.kind == Item::Kind::kBytes;
      DestroyLater(std::move(last.passed));
      stream.items.pop_back();
    }
    Put(connection, side, Item::Kind::kReset, {}, {}, extra_delay);
  } else if (!has_finished) {
    Put(connection, side, Item::Kind::kEnd, {}, {}, extra_delay);
  }
}

void SimulatedFabric::ForgetEnd(Connection& connection, int side) {
  connection.ends[side] = nullptr;
  if (connection.ends[1 - side] != nullptr) return;
  for (Stream& stream : connection.streams) {
    world_.Cancel(stream.pump);
    Lose(stream);
  }
  connections_.erase(connection.id);
}

size_t SimulatedFabric::OpenSockets(const SimulatedProcess& process) const {
  return static_cast<size_t>(
      std::count_if(sockets_.begin(), sockets_.end(),
                    [&](const auto& socket) { return socket.second->process() == &process; }));
}

Ready SimulatedFabric::ReadinessOf(int descriptor) const {
  const auto found = sockets_.find(descriptor);
  return found == sockets_.end() ? Ready{} : found->second->readiness();
}

SimulatedFabric::ObserverId SimulatedFabric::Observe(int descriptor,
                                                     std::function<void()> on_change) {
  const ObserverId id = next_observer_++;
  observers_[id] = {descriptor, std::move(on_change)};
  observers_of_[descriptor].insert(id);
  return id;
}

void SimulatedFabric::EndObserving(ObserverId id) {
  const auto observer = observers_.extract(id);
  if (observer.empty()) return;
  const auto of = observers_of_.find(observer.mapped().descriptor);
  of->second.erase(id);
  if (of->second.empty()) observers_of_.erase(of);
}

void SimulatedFabric::NotifyObservers(int descriptor) {
  const auto of = observers_of_.find(descriptor);
  if (of == observers_of_.end()) return;
  for (const ObserverId id : of->second) observers_.at(id).on_change();
}

void SimulatedFabric::DestroyLater(std::unique_ptr<SimulatedSocket> socket) {
  if (socket == nullptr) return;
  if (doomed_.empty()) doom_ = world_.RunAfter(Duration::zero(), [this] { DestroyDoomed(); });
  doomed_.push_back(std::move(socket));
}

void SimulatedFabric::DestroyDoomed() {
  world_.Cancel(doom_);
  std::exchange(doomed_, {}).clear();
}

}  // namespace closeranks::net
