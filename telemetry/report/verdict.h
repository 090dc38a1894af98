// What a run's report comes to, in words.
#ifndef CLOSERANKS_TELEMETRY_REPORT_VERDICT_H_
#define CLOSERANKS_TELEMETRY_REPORT_VERDICT_H_

#include <string>

#include "telemetry/report/run_report.h"

namespace closeranks::telemetry {

// A few short sentences: "Rank 0 was killed in step 312; 3 survivors had a new world 0.9 ms and
// committed again 36 ms after the kill. A new worker joined as rank 0 at step 355. No sample was
// lost, none repeated."
std::string Verdict(const RunReport& report);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_VERDICT_H_
