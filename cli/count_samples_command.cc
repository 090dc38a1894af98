#include "cli/count_samples_command.h"

#include <charconv>
#include <string_view>
#include <utility>

#include "telemetry/report/ledger_count.h"

namespace closeranks::cli {
namespace {

constexpr std::string_view kUsage =
    "usage: closeranks count-samples --samples N --epochs E [--json] FOLDER";
constexpr std::string_view kHelp =
    "\n\nCounts from the ledgers in FOLDER, what a run was given as --report, how often each of\n"
    "the N samples of an epoch was consumed, and in which steps. --json prints it for programs.\n\n"
    "Ends with 0 when each sample was consumed once an epoch and no step is missing, 1 when not,\n"
    "2 when there is nothing to count.\n";

struct Arguments {
  telemetry::LedgerExpectation expected;
  bool json = false;
  std::string folder;
};

// A positive number for the flag `name`.
template <typename T>
Status ParsePositive(std::string_view name, std::string_view text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value <= 0) {
    return InvalidArgument(std::string(name) + " needs a positive number, not \"" +
                           std::string(text) + "\"");
  }
  return OkStatus();
}

Result<Arguments> Parse(std::span<const std::string> words) {
  Arguments arguments;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view name = words[i];
    if (name == "--json") {
      arguments.json = true;
    } else if (!name.starts_with("--")) {
      if (!arguments.folder.empty()) return InvalidArgument("more than one folder");
      arguments.folder = name;
    } else {
      // --name=value or --name value
      std::string_view value;
      size_t equals = name.find('=');
      if (equals != std::string_view::npos) {
        value = name.substr(equals + 1);
        name = name.substr(0, equals);
      } else if (i + 1 < words.size()) {
        value = words[++i];
      }
      if (name == "--samples") {
        RETURN_IF_ERROR(ParsePositive(name, value, arguments.expected.samples));
      } else if (name == "--epochs") {
        RETURN_IF_ERROR(ParsePositive(name, value, arguments.expected.epochs));
      } else {
        return InvalidArgument("unknown flag " + std::string(name));
      }
    }
  }
  if (arguments.folder.empty()) return InvalidArgument("no folder given");
  if (arguments.expected.samples == 0) return InvalidArgument("--samples is missing");
  if (arguments.expected.epochs == 0) return InvalidArgument("--epochs is missing");
  return arguments;
}

}  // namespace

ExitCode CountSamplesCommand(std::span<const std::string> arguments, Files& files,
                             std::ostream& out, std::ostream& err) {
  for (const std::string& word : arguments) {
    if (word != "--help" && word != "-h") continue;
    out << kUsage << kHelp;
    return ExitCode::kOk;
  }
  Result<Arguments> parsed = Parse(arguments);
  if (!parsed.ok()) {
    err << parsed.status().message() << "\n" << kUsage << "\n";
    return ExitCode::kUsage;
  }
  auto count = telemetry::CountLedgers(files, parsed->folder, parsed->expected);
  if (!count.ok()) {
    err << "count-samples: " << count.status().message() << "\n";
    return ExitCode::kUsage;
  }
  out << (parsed->json ? telemetry::LedgerCountJson(*count) : telemetry::LedgerCountText(*count));
  return count->Sound() ? ExitCode::kOk : ExitCode::kError;
}

}  // namespace closeranks::cli
