#include "elastic/event_writer.h"

#include "telemetry/records.h"

namespace closeranks::elastic {

void EventWriter::OnWorld(const ConnectedWorld& connected, const Entry& entry) {
  const World& world = connected.world;
  telemetry::WorldEvent event;
  event.gen = world.generation;
  event.rank = connected.rank;
  event.size = world.size();
  event.spares = connected.spares;
  for (const MemberProcess& process : world.ranks) event.members.push_back(process.member);
  for (int rank = 0; rank < world_.size(); ++rank) {
    if (world.RankOf(world_.ranks[rank]) >= 0) continue;
    event.lost.push_back(rank);
    event.lost_members.push_back(world_.ranks[rank].member);
  }
  // Whoever enters a running job knows no world before; it knows only of itself that it is new.
  if (world_.size() == 0) {
    if (connected.decision->resume.applied > 0) {
      event.joined_members.push_back(world.ranks[connected.rank].member);
    }
  } else {
    for (const MemberProcess& process : world.ranks) {
      if (world_.RankOf(process) < 0) event.joined_members.push_back(process.member);
    }
  }
  event.resume_step = entry.resumed_from;
  event.t_detected = event.lost.empty() ? TimePoint{} : connected.detected;
  event.t_decided = connected.decided;
  event.t_rewired = connected.rewired;
  event.t_asked = entry.asked;
  event.t_transfer_begin = entry.transfer_begin;
  event.t_transfer_end = entry.transfer_end;
  event.t_entered = entry.entered;
  events_.Write(ToRecord(event));
  world_ = world;
}

void EventWriter::OnTransfer(const ConnectedWorld& connected, size_t bytes, TimePoint begin,
                             TimePoint end) {
  telemetry::TransferEvent event;
  event.gen = connected.world.generation;
  event.member = connected.world.ranks[connected.rank].member;
  event.bytes = static_cast<int64_t>(bytes);
  event.t_begin = begin;
  event.t_end = end;
  events_.Write(ToRecord(event));
}

void EventWriter::OnCommit(const StepInfo& info) {
  telemetry::CommitEvent event;
  event.step = info.step;
  event.epoch = info.epoch;
  event.loss = info.loss;
  event.gen = info.world->world.generation;
  event.size = info.world->world.size();
  event.samples = info.samples;
  events_.Write(ToRecord(event));
}

}  // namespace closeranks::elastic
