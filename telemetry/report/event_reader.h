// Reads the event files of a report folder back into the structs of records.h.
#ifndef CLOSERANKS_TELEMETRY_REPORT_EVENT_READER_H_
#define CLOSERANKS_TELEMETRY_REPORT_EVENT_READER_H_

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/member.h"
#include "base/status.h"
#include "telemetry/records.h"

namespace closeranks::telemetry {

template <typename Event>
struct Timed {
  TimePoint t;
  Event event;
};

// What one worker process wrote, each list in the order of its file.
struct WorkerEvents {
  std::string file;  // name in the folder
  // From the file's name.
  MemberId member = -1;
  std::string incarnation8;

  std::optional<Timed<StartEvent>> start;
  std::vector<Timed<WorldEvent>> worlds;
  std::vector<Timed<TransferEvent>> transfers;
  std::vector<Timed<CommitEvent>> commits;
  std::vector<Timed<MetricEvent>> metrics;
  std::vector<Timed<SlowEvent>> slow;
  std::optional<Timed<EndEvent>> end;
};

struct SupervisorEvents {
  std::optional<Timed<RunEvent>> run;
  std::vector<Timed<WorkerStartedEvent>> started;
  std::vector<Timed<KillEvent>> kills;
  std::vector<Timed<WorkerExitEvent>> exits;
  std::vector<Timed<SuspectedEvent>> suspected;
  std::optional<Timed<SupervisorEndEvent>> end;
};

struct RunEvents {
  std::vector<WorkerEvents> workers;  // in ascending order of file name
  std::optional<SupervisorEvents> supervisor;
  std::vector<std::string> torn;  // names of files whose last line was cut and ignored
};

// kUnavailable when the folder or every worker's file is missing; kInvalidArgument, with file and
// line, for a line that isn't an event as records.h describes it.
Result<RunEvents> ReadEvents(Files& files, const std::string& folder);
// The launcher's alone. Errors as above.
Result<SupervisorEvents> ReadSupervisorEvents(Files& files, const std::string& folder);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_EVENT_READER_H_
