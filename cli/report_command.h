// `closeranks report`: a run's records as a page, a JSON file and a table.
#ifndef CLOSERANKS_CLI_REPORT_COMMAND_H_
#define CLOSERANKS_CLI_REPORT_COMMAND_H_

#include <ostream>
#include <span>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"

namespace closeranks::cli {

// `arguments` are those after the command's name: the report folder of a run. Writes report.json
// and report.html there and prints the table to `out`. kOk for a sound run (every planned step
// done, every sample consumed exactly once, the same weights everywhere), kError when the report
// says otherwise, kUsage (and one line on `err`) when the records can't be understood, kNoResources
// or kError when the files can't be written.
ExitCode ReportCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                       std::ostream& err);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_REPORT_COMMAND_H_
