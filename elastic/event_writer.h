// Writes what happens in a step loop to an event log.
#ifndef CLOSERANKS_ELASTIC_EVENT_WRITER_H_
#define CLOSERANKS_ELASTIC_EVENT_WRITER_H_

#include <cstddef>

#include "base/clock.h"
#include "base/member.h"
#include "elastic/step_loop.h"
#include "telemetry/event_log.h"

namespace closeranks::elastic {

// An observer that has more to do derives from it.
class EventWriter : public StepObserver {
 public:
  // `events` outlives it.
  explicit EventWriter(telemetry::EventLog& events) : events_(events) {}

  void OnWorld(const ConnectedWorld& connected, const Entry& entry) override;
  void OnTransfer(const ConnectedWorld& connected, size_t bytes, TimePoint begin,
                  TimePoint end) override;
  void OnStepBegin(const StepInfo&) override {}
  void OnCommit(const StepInfo& info) override;

 protected:
  telemetry::EventLog& events() { return events_; }

 private:
  telemetry::EventLog& events_;
  World world_;  // the last one; no ranks before the first
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_EVENT_WRITER_H_
