#include "cli/verify_epoch_command.h"

#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "telemetry/report/ledger_count.h"
#include "telemetry/report/run_report.h"

namespace closeranks::cli {
namespace {

constexpr std::string_view kUsage =
    "usage: closeranks verify-epoch [--samples N] [--epochs E] [--json] REPORT [REPORT...]";
constexpr std::string_view kHelp =
    "\n\nProves from the ledgers in each REPORT, what a host's supervisor was given as --report,\n"
    "that each of the N samples was committed once in each of the E epochs: counts how often, and\n"
    "in which steps. N and E are what the run's records say, unless they are given. --json prints\n"
    "it for programs.\n\n"
    "Ends with 0 when each sample was committed once an epoch and no step is missing, 1 when not,\n"
    "2 when there is nothing to count.\n";

struct Arguments {
  telemetry::LedgerExpectation expected;
  bool json = false;
  std::vector<std::string> folders;
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
      arguments.folders.emplace_back(name);
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
  if (arguments.folders.empty()) return InvalidArgument("no report folder given");
  return arguments;
}

Result<telemetry::LedgerCount> Count(const Arguments& arguments, Files& files) {
  telemetry::LedgerExpectation expected = arguments.expected;
  if (expected.samples == 0 || expected.epochs == 0) {
    auto recorded = telemetry::ReadExpectation(files, arguments.folders.front());
    if (!recorded.ok()) {
      return recorded.status().WithContext("give --samples and --epochs, or their record");
    }
    if (expected.samples == 0) expected.samples = recorded->samples;
    if (expected.epochs == 0) expected.epochs = recorded->epochs;
  }
  return telemetry::CountLedgers(files, arguments.folders, expected);
}

}  // namespace

ExitCode VerifyEpochCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                            std::ostream& err) {
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
  auto count = Count(*parsed, files);
  if (!count.ok()) {
    err << "verify-epoch: " << count.status().message() << "\n";
    return ExitCode::kUsage;
  }
  out << (parsed->json ? telemetry::LedgerCountJson(*count) : telemetry::LedgerCountText(*count));
  return count->Sound() ? ExitCode::kOk : ExitCode::kError;
}

}  // namespace closeranks::cli
