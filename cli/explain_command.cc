#include "cli/explain_command.h"

#include <utility>
#include <vector>

#include "collectives/engine/call.h"
#include "telemetry/flight_recorder.h"
#include "telemetry/report/event_reader.h"
#include "telemetry/report/flight_explanation.h"

namespace closeranks::cli {
namespace {

constexpr char kHelp[] =
    "usage: closeranks explain FOLDER [FOLDER...]\n\n"
    "Each FOLDER is what one host's 'closeranks run' was given as --report. Says, from the flight\n"
    "records and notices there, what the ranks did when the newest of them were written: who is\n"
    "missing or slow, at which operation, who waits for it, and since when.\n\n"
    "They are written when a worker is lost, is silent, is stuck for longer than its\n"
    "--step-timeout, or has an operation that takes longer than its --timeout; when another host\n"
    "is lost or silent, and when the job holds without it; and when the supervisor, which is the\n"
    "process of 'closeranks run', gets SIGUSR2: kill -USR2 PID.\n\n"
    "Ends with 0, or with 2 when there is nothing to explain.\n";

struct Evidence {
  std::vector<telemetry::FlightRecord> records;
  std::vector<std::string> notices;
  std::vector<telemetry::WorkerExitEvent> exits;
};

bool IsNamed(const std::string& name, const char* begin, const char* end) {
  return name.starts_with(begin) && name.ends_with(end);
}

// Of one folder. A record that can't be read costs its own rank's part of the story only.
Status Collect(Files& files, const std::string& folder, Evidence& evidence, std::ostream& err) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  // Records of workers tell something without it.
  if (const auto events = telemetry::ReadSupervisorEvents(files, folder); events.ok()) {
    for (const auto& exit : events->exits) evidence.exits.push_back(exit.event);
  }
  for (const std::string& name : names) {
    const bool is_flight = IsNamed(name, "flight.", ".bin");
    if (!is_flight && !IsNamed(name, "notices.", ".txt")) continue;
    const std::string path = folder + "/" + name;
    ASSIGN_OR_RETURN(std::string bytes, files.Read(path));
    if (!is_flight) {
      evidence.notices.push_back(std::move(bytes));
      continue;
    }
    auto record = telemetry::ReadFlightRecord(bytes);
    if (record.ok()) {
      evidence.records.push_back(*std::move(record));
    } else {
      err << "explain: " << path << " is left out: " << record.status().message() << "\n";
    }
  }
  return OkStatus();
}

}  // namespace

ExitCode ExplainCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                        std::ostream& err) {
  if (arguments.size() == 1 && (arguments[0] == "--help" || arguments[0] == "-h")) {
    out << kHelp;
    return ExitCode::kOk;
  }
  Evidence evidence;
  for (const std::string& folder : arguments) {
    if (folder.starts_with("-")) {
      err << kHelp;
      return ExitCode::kUsage;
    }
    Status collected = Collect(files, folder, evidence, err);
    if (!collected.ok()) {
      err << "explain: " << folder << ": " << collected.message() << "\n";
      return ExitCode::kUsage;
    }
  }
  if (arguments.empty()) {
    err << kHelp;
    return ExitCode::kUsage;
  }
  if (evidence.records.empty() && evidence.notices.empty()) {
    err << "explain: there are no flight records; send SIGUSR2 to the process of 'closeranks "
           "run', which must have --report\n";
    return ExitCode::kUsage;
  }
  if (!evidence.records.empty()) {
    out << telemetry::ExplainFlight(evidence.records, evidence.exits,
                                    [](const std::array<uint64_t, 2>& fingerprint) {
                                      return collectives::Call::Decode(fingerprint).ToString();
                                    })
        << "\n";
  }
  for (const std::string& notice : evidence.notices) out << "\n" << notice;
  return ExitCode::kOk;
}

}  // namespace closeranks::cli
