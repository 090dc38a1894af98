// report.html: the report for people.
#ifndef CLOSERANKS_TELEMETRY_REPORT_REPORT_HTML_H_
#define CLOSERANKS_TELEMETRY_REPORT_REPORT_HTML_H_

#include <string>

#include "telemetry/report/run_report.h"

namespace closeranks::telemetry {

// One page that needs nothing else: no script, no network. Follows the reader's choice of a dark or
// a light scheme.
std::string ReportHtml(const RunReport& report);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_REPORT_HTML_H_
