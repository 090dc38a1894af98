// The `closeranks` program: one command a file.
#include <iostream>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "cli/checkpoint_command.h"
#include "cli/explain_command.h"
#include "cli/report_command.h"
#include "cli/run_command.h"
#include "cli/verify_epoch_command.h"
#include "closeranks/version.h"

namespace closeranks::cli {
namespace {

constexpr char kUsage[] =
    "usage: closeranks COMMAND [FLAGS]\n\n"
    "  run            start workers on this host and keep them going\n"
    "  report         turn a run's records into report.json, report.html and a table\n"
    "  explain        say who a run waits for, at what and since when\n"
    "  verify-epoch   prove from the ledgers that each sample was committed once\n"
    "  checkpoint     list and verify a run's checkpoints\n\n"
    "closeranks COMMAND --help says more; closeranks --version says which build this is.\n";

int Main(const std::vector<std::string>& words) {
  SystemFiles files;
  std::string name = words.empty() ? "" : words[0];
  std::vector<std::string> arguments(words.begin() + (words.empty() ? 0 : 1), words.end());
  if (name == "run") return RunCommand(arguments, files, std::cerr);
  if (name == "report") {
    return static_cast<int>(ReportCommand(arguments, files, std::cout, std::cerr));
  }
  if (name == "explain") {
    return static_cast<int>(ExplainCommand(arguments, files, std::cout, std::cerr));
  }
  if (name == "verify-epoch") {
    return static_cast<int>(VerifyEpochCommand(arguments, files, std::cout, std::cerr));
  }
  if (name == "checkpoint") {
    return static_cast<int>(CheckpointCommand(arguments, files, std::cout, std::cerr));
  }
  if (name == "help" || name == "--help" || name == "-h") {
    std::cout << kUsage;
    return static_cast<int>(ExitCode::kOk);
  }
  if (name == "--version") {
    std::cout << VersionLine();
    return static_cast<int>(ExitCode::kOk);
  }
  if (!name.empty()) std::cerr << "closeranks: there is no command '" << name << "'\n\n";
  std::cerr << kUsage;
  return static_cast<int>(ExitCode::kUsage);
}

}  // namespace
}  // namespace closeranks::cli

int main(int argc, char** argv) {
  return closeranks::cli::Main(std::vector<std::string>(argv + 1, argv + argc));
}
