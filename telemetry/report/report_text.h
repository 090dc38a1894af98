// The end of a run, for a terminal.
#ifndef CLOSERANKS_TELEMETRY_REPORT_REPORT_TEXT_H_
#define CLOSERANKS_TELEMETRY_REPORT_REPORT_TEXT_H_

#include <string>

#include "telemetry/report/run_report.h"

namespace closeranks::telemetry {

// The verdict, the results, and a table in milliseconds of the recoveries and one of the joins;
// plain text of at most 100 columns where the verdict allows it, with a newline at the end.
std::string ReportText(const RunReport& report);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_REPORT_TEXT_H_
