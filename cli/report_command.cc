#include "cli/report_command.h"

#include "telemetry/report/report_html.h"
#include "telemetry/report/report_json.h"
#include "telemetry/report/report_text.h"
#include "telemetry/report/run_report.h"

namespace closeranks::cli {
namespace {

constexpr char kHelp[] =
    "usage: closeranks report FOLDER\n\n"
    "FOLDER is what a run was given as --report. Prints a verdict and a table, and writes\n"
    "FOLDER/report.html (a page for people, one file) and FOLDER/report.json (the same for\n"
    "programs). Of a run on several hosts FOLDER has what its own host's workers recorded.\n\n"
    "Ends with 0 when the run was sound (every step done, no sample lost or repeated, the same\n"
    "weights everywhere), 1 when it wasn't, 2 when there is nothing to report.\n";

}  // namespace

ExitCode ReportCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                       std::ostream& err) {
  if (arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h")) {
    out << kHelp;
    return ExitCode::kOk;
  }
  if (arguments.size() != 1 || arguments[0].starts_with("-")) {
    err << kHelp;
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
