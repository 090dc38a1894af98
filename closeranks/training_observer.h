// Writes what happens in a run to its event log, and tells the supervisor how far it is.
#ifndef CLOSERANKS_CLOSERANKS_TRAINING_OBSERVER_H_
#define CLOSERANKS_CLOSERANKS_TRAINING_OBSERVER_H_

#include "closeranks/job.h"
#include "elastic/event_writer.h"

namespace closeranks {

class TrainingObserver final : public elastic::EventWriter {
 public:
  // `job` outlives it.
  TrainingObserver(Job& job, StepNumber steps)
      : EventWriter(job.events()), job_(job), steps_(steps) {}

  void OnWorld(const elastic::ConnectedWorld& connected, const Entry& entry) override;
  void OnStepBegin(const StepInfo& info) override;
  void OnCommit(const StepInfo& info) override;
  // This rank is `factor` times as slow as the others, as of `step`.
  void OnSlow(StepNumber step, double factor);

  double SecondsSinceFirstWorld() const;

 private:
  void Tell(const StepInfo& info, bool committed);

  Job& job_;
  StepNumber steps_;
  TimePoint first_world_{};
};

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_TRAINING_OBSERVER_H_
