#include "net/simulated_fabric.h"

#include <algorithm>
#include <chrono>

#include "glog/logging.h"
#include "net/simulated_link.h"

namespace closeranks::net {
namespace {

constexpr Duration kLeastDelay = std::chrono::microseconds(50);
constexpr Duration kMostDelay = std::chrono::microseconds(200);

}  // namespace

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
  for (const auto& [id, connection] : connections_) {
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
  for (const auto& [id, connection] : connections_) {
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
  for (const auto& [id, connection] : connections_) {
    for (int side : {0, 1}) {
      SimulatedLink* end = connection->ends[side];
      if (end == nullptr || &end->process() != &process) continue;
      if (peers_are_told) {
        CloseEnd(*connection, side, connection->streams[side].items.size());
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
  connections_[connection->id] = connection;
  return connection;
}

void SimulatedFabric::Put(Connection& connection, int side, Item::Kind kind, Frame frame) {
  Stream& stream = connection.streams[side];
  stream.bytes += kind == Item::Kind::kFrame ? kFrameHeaderBytes + frame.payload.size() : 0;
  if (stream.has_gap) {
    frames_lost_ += kind == Item::Kind::kFrame;
    return;
  }
  const std::string& from = connection.hosts[side];
  const std::string& to = connection.hosts[1 - side];
  stream.last_arrival = std::max(stream.last_arrival, world_.Now() + DrawDelay(from, to));
  stream.items.push_back({kind, stream.last_arrival, std::move(frame)});
  SchedulePump(connection, side);
}

void SimulatedFabric::SchedulePump(Connection& connection, int side) {
  Stream& stream = connection.streams[side];
  if (stream.pump != kNoTimer || stream.items.empty()) return;
  stream.pump = world_.RunAt(stream.items.front().arrives,
                             [this, id = connection.id, side] { Pump(id, side); });
}

void SimulatedFabric::PumpAll() {
  for (const auto& [id, connection] : connections_) {
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
  SimulatedLink* receiver = connection->ends[1 - side];
  if (receiver != nullptr && receiver->process().state() == SimulatedProcess::State::kDead) {
    receiver = nullptr;
  }
  // Whatever ends the wait schedules the pump again: Unclog, Continue, the link's Start.
  if (IsClogged(direction)) return;
  if (receiver != nullptr && !receiver->CanReceive()) return;

  Item item = std::move(stream.items.front());
  stream.items.pop_front();
  if (item.kind == Item::Kind::kFrame) {
    stream.bytes -= kFrameHeaderBytes + item.frame.payload.size();
    if (reset_once_in_ > 0 && world_.random().OneIn(reset_once_in_)) {
      ++frames_lost_;
      return Reset(*connection);
    }
  }
  SchedulePump(*connection, side);
  if (receiver == nullptr) return;
  if (item.kind == Item::Kind::kFrame) {
    ++frames_delivered_;
    receiver->OnFrame(std::move(item.frame));
  } else {
    receiver->OnEnd(item.kind == Item::Kind::kReset);
  }
}

// The bytes stay counted, as a real sender would keep what isn't acknowledged.
void SimulatedFabric::Lose(Stream& stream) {
  for (const Item& item : stream.items) frames_lost_ += item.kind == Item::Kind::kFrame;
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

void SimulatedFabric::CloseEnd(Connection& connection, int side, size_t items_kept) {
  Stream& stream = connection.streams[side];
  while (stream.items.size() > items_kept) {
    frames_lost_ += stream.items.back().kind == Item::Kind::kFrame;
    stream.items.pop_back();
  }
  Put(connection, side, Item::Kind::kEnd);
}

void SimulatedFabric::ForgetEnd(Connection& connection, int side) {
  connection.ends[side] = nullptr;
  if (connection.ends[1 - side] != nullptr) return;
  for (const Stream& stream : connection.streams) world_.Cancel(stream.pump);
  connections_.erase(connection.id);
}

}  // namespace closeranks::net
