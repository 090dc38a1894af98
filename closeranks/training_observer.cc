#include "closeranks/training_observer.h"

#include <string>

#include "elastic/worker.h"
#include "glog/logging.h"
#include "telemetry/records.h"

namespace closeranks {

void TrainingObserver::OnWorld(const elastic::ConnectedWorld& connected, const Entry& entry) {
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
    first_world_ = job_.clock().Now();
    if (connected.decision->resume.applied > 0)
      event.joined_members.push_back(job_.worker().process().member);
  } else {
    for (const MemberProcess& process : world.ranks) {
      if (world_.RankOf(process) < 0) event.joined_members.push_back(process.member);
    }
  }
  event.resume_step = entry.resumed_from;
  LOG_IF(INFO, connected.rank == 0)
      << world << " goes on from step " << entry.resumed_from
      << (connected.spares > 0 ? ", the last " + std::to_string(connected.spares) + " standing by"
                               : "");
  event.t_detected = event.lost.empty() ? TimePoint{} : connected.detected;
  event.t_decided = connected.decided;
  event.t_rewired = connected.rewired;
  event.t_asked = entry.asked;
  event.t_transfer_begin = entry.transfer_begin;
  event.t_transfer_end = entry.transfer_end;
  event.t_entered = entry.entered;
  job_.events().Write(ToRecord(event));
  world_ = world;
}

void TrainingObserver::OnTransfer(const elastic::ConnectedWorld& connected, size_t bytes,
                                  TimePoint begin, TimePoint end) {
  telemetry::TransferEvent event;
  event.gen = connected.world.generation;
  event.member = job_.worker().process().member;
  event.bytes = static_cast<int64_t>(bytes);
  event.t_begin = begin;
  event.t_end = end;
  job_.events().Write(ToRecord(event));
}

void TrainingObserver::OnStepBegin(const StepInfo& info) { Tell(info, false); }

void TrainingObserver::OnCommit(const StepInfo& info) {
  telemetry::CommitEvent event;
  event.step = info.step;
  event.epoch = info.epoch;
  event.loss = info.loss;
  event.gen = info.world->world.generation;
  event.size = info.world->world.size();
  event.samples = info.samples;
  job_.events().Write(ToRecord(event));
  Tell(info, true);
}

void TrainingObserver::OnSlow(StepNumber step, double factor) {
  job_.events().Write(ToRecord(telemetry::SlowEvent{step, factor}));
  job_.worker().ReportSlow(step, factor);
}

void TrainingObserver::Tell(const StepInfo& info, bool committed) {
  job_.log_prefix().op_sequence = static_cast<int64_t>(info.world->communicator->next_sequence());
  rendezvous::Progress progress;
  progress.step = info.step;
  progress.steps = steps_;
  progress.epoch = info.epoch;
  progress.committed = committed;
  progress.loss = info.loss;
  progress.samples = info.samples;
  progress.ranks = info.world->world.size() - info.world->spares;
  progress.rank = info.world->rank;
  job_.worker().ReportProgress(progress);
}

double TrainingObserver::SecondsSinceFirstWorld() const {
  return ToMilliseconds(job_.clock().Now() - first_world_) / 1000;
}

}  // namespace closeranks
