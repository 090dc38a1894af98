// What each admission of a worker took.
#ifndef CLOSERANKS_TELEMETRY_REPORT_JOINS_H_
#define CLOSERANKS_TELEMETRY_REPORT_JOINS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/member.h"
#include "telemetry/report/event_reader.h"
#include "telemetry/report/world_history.h"

namespace closeranks::telemetry {

// From the start of a process to its first commit.
struct Join {
  Generation generation = 0;
  MemberId member = -1;
  int rank = -1;
  StepNumber first_step = 0;  // its first commit; 0: none
  double started_at_seconds = 0;
  double joined_at_seconds = 0;  // its first commit, or else its world
  // From the start of the process to "start": program and data loaded.
  std::optional<double> boot_ms;
  std::optional<double> transfer_ms;  // of state; none when it received none
  int64_t transfer_bytes = 0;
  std::optional<double> total_ms;  // none: it never committed
};

// In order of generation. The workers of the first world joined nothing. Adds to `notes` what a
// reader should know.
std::vector<Join> FindJoins(const WorldHistory& history, const RunEvents& events,
                            std::vector<std::string>& notes);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_JOINS_H_
