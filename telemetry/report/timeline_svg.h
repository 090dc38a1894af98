// The picture of a run: loss, throughput and world size over one axis of time, with every loss of a
// worker and every join marked through all three.
#ifndef CLOSERANKS_TELEMETRY_REPORT_TIMELINE_SVG_H_
#define CLOSERANKS_TELEMETRY_REPORT_TIMELINE_SVG_H_

#include <string>
#include <string_view>

#include "telemetry/report/run_report.h"

namespace closeranks::telemetry {

// An <svg> element for use inside of a page that also has TimelineCss() in its style. Its size
// doesn't grow with the number of steps.
std::string TimelineSvg(const RunReport& report);

// Uses the page's variables --text, --muted, --grid, --line, --loss and --join.
std::string_view TimelineCss();

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_TIMELINE_SVG_H_
