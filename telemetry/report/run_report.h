// A run's records put together: what was lost, how long each recovery and each join took, and what
// the run came to. Pure arithmetic over what event_reader and ledger_count read.
#ifndef CLOSERANKS_TELEMETRY_REPORT_RUN_REPORT_H_
#define CLOSERANKS_TELEMETRY_REPORT_RUN_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/member.h"
#include "base/status.h"
#include "telemetry/report/event_reader.h"
#include "telemetry/report/joins.h"
#include "telemetry/report/ledger_count.h"
#include "telemetry/report/recoveries.h"

namespace closeranks::telemetry {

struct LossPoint {
  StepNumber step = 0;
  int epoch = 0;
  Generation generation = 0;
  double at_seconds = 0;
  double loss = 0;  // may be NaN
  int64_t samples = 0;
};

struct WorldSizePoint {
  double at_seconds = 0;  // from then on
  int size = 0;
};

struct ThroughputBin {
  double begin_seconds = 0;
  double samples_per_second = 0;
};

struct RunReport {
  // From the workers' "start".
  int ranks = 0;
  std::string mode;
  int epochs = 0;
  int64_t batch = 0;
  int64_t samples = 0;
  int logical_shards = 0;
  uint64_t seed = 0;
  StepNumber planned_steps = 0;
  std::string command;  // empty without the launcher's record

  StepNumber steps = 0;  // committed
  double seconds = 0;    // from the first usable world to the last commit
  double steps_per_second = 0;
  double samples_per_second = 0;
  std::optional<double> final_loss;
  std::optional<double> test_accuracy;
  // As the workers that reached the end have it; empty when none did, and the first one's when they
  // disagree.
  std::string weights_sha256;
  bool weights_agree = true;
  int workers_at_end = 0;

  // Members of its worlds whose records aren't here, as those of another host: what only they took
  // part in isn't known.
  std::vector<MemberId> members_elsewhere;

  std::vector<Recovery> recoveries;  // in order of time
  std::optional<UnansweredKills> unanswered_kills;
  std::vector<AbnormalExit> abnormal_exits;  // as in Losses
  std::vector<Join> joins;
  LedgerCount ledger;

  // For charts; times are seconds since the training began (the first usable world).
  std::vector<LossPoint> loss;
  std::vector<WorldSizePoint> world_sizes;
  double bin_seconds = 0;
  std::vector<ThroughputBin> throughput;

  // What a reader should know before trusting the above: torn lines, records that are missing.
  std::vector<std::string> notes;

  // All planned steps were done and are in a ledger, each sample was consumed once, and the workers
  // that reached the end have the same weights.
  bool Sound() const;
};

// `events` must hold a "start"; kInvalidArgument otherwise, or when nothing was ever committed.
Result<RunReport> MakeRunReport(const RunEvents& events, const LedgerCount& ledger);

// What the run in `folder` was to do, by what its first worker said. Errors as ReadEvents;
// kInvalidArgument when none said it.
Result<LedgerExpectation> ReadExpectation(Files& files, const std::string& folder);

// Reads everything from `folder` and makes the report. Errors as ReadEvents, CountLedgers and
// MakeRunReport have them.
Result<RunReport> ReadRunReport(Files& files, const std::string& folder);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_RUN_REPORT_H_
