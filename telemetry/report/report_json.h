// report.json: the report for programs.
#ifndef CLOSERANKS_TELEMETRY_REPORT_REPORT_JSON_H_
#define CLOSERANKS_TELEMETRY_REPORT_REPORT_JSON_H_

#include <string>

#include "telemetry/report/run_report.h"

namespace closeranks::telemetry {

// One object: ranks, mode, epochs, steps, test_accuracy, samples_expected, samples_consumed,
// samples_lost, samples_duplicated, weights_sha256, steps_per_second,
//   recoveries[{lost_ranks, detect_ms, agree_ms, rewire_ms, replay_ms, total_ms, ...}],
//   joins[{rank, transfer_ms, total_ms, ...}],
// the rest of the configuration, the verdict and the charts' series. What isn't known is null.
// total_ms of a recovery is detect + agree + rewire, without the replay.
std::string ReportJson(const RunReport& report);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_REPORT_JSON_H_
