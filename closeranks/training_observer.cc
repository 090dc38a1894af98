#include "closeranks/training_observer.h"

#include <string>

#include "elastic/worker.h"
#include "glog/logging.h"
#include "telemetry/records.h"

namespace closeranks {

void TrainingObserver::OnWorld(const elastic::ConnectedWorld& connected, const Entry& entry) {
  if (first_world_ == TimePoint{}) first_world_ = job_.clock().Now();
  LOG_IF(INFO, connected.rank == 0)
      << connected.world << " goes on from step " << entry.resumed_from
      << (connected.spares > 0 ? ", the last " + std::to_string(connected.spares) + " standing by"
                               : "");
  EventWriter::OnWorld(connected, entry);
}

void TrainingObserver::OnStepBegin(const StepInfo& info) { Tell(info, false); }

void TrainingObserver::OnCommit(const StepInfo& info) {
  EventWriter::OnCommit(info);
  Tell(info, true);
}

void TrainingObserver::OnSlow(StepNumber step, double factor) {
  events().Write(ToRecord(telemetry::SlowEvent{step, factor}));
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
