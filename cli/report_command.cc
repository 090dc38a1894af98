#include "cli/report_command.h"

#include "telemetry/report/report_html.h"
#include "telemetry/report/report_json.h"
#include "telemetry/report/report_text.h"
#include "telemetry/report/run_report.h"

namespace closeranks::cli {

ExitCode ReportCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                       std::ostream& err) {
  if (arguments.size() != 1 || arguments[0].starts_with("-")) {
    err << "usage: closeranks report FOLDER\n";
    return ExitCode::kUsage;
  }
  const std::string& folder = arguments[0];
  Result<telemetry::RunReport> report = telemetry::ReadRunReport(files, folder);
  if (!report.ok()) {
    err << "report: " << report.status().message() << "\n";
    return ExitCode::kUsage;
  }
  Status written = files.Replace(folder + "/report.json", telemetry::ReportJson(*report));
  if (written.ok()) {
    written = files.Replace(folder + "/report.html", telemetry::ReportHtml(*report));
  }
  out << telemetry::ReportText(*report);
  if (!written.ok()) {
    err << "report: " << written.message() << "\n";
    return ExitCodeFor(written);
  }
  out << "\n  " << folder << "/report.html\n  " << folder << "/report.json\n";
  return report->Sound() ? ExitCode::kOk : ExitCode::kError;
}

}  // namespace closeranks::cli
