#include "telemetry/records.h"

#include <regex>

namespace closeranks::telemetry {
namespace {

std::string ProcessName(const MemberProcess& process) {
  return std::to_string(process.member) + "." + process.incarnation.ToShortString();
}

// As the paths below are made: what only looks like it may be the user's.
bool IsRecord(const std::string& name) {
  static const std::regex record(
      R"(events\.supervisor\.jsonl|)"
      R"((events|ledger|flight|notices)\.\d+\.[0-9a-f]{8}\.(jsonl|txt|bin))");
  return std::regex_match(name, record);
}

}  // namespace

std::string WorkerEventsPath(const std::string& folder, const MemberProcess& process) {
  return folder + "/events." + ProcessName(process) + ".jsonl";
}

std::string SupervisorEventsPath(const std::string& folder) {
  return folder + "/events.supervisor.jsonl";
}

std::string LedgerPath(const std::string& folder, const MemberProcess& process) {
  return folder + "/ledger." + ProcessName(process) + ".txt";
}

std::string FlightPath(const std::string& folder, const MemberProcess& process) {
  return folder + "/flight." + ProcessName(process) + ".bin";
}

std::string NoticesPath(const std::string& folder, const MemberProcess& process) {
  return folder + "/notices." + ProcessName(process) + ".txt";
}

Result<UniqueFd> PrepareReportFolder(Files& files, const std::string& folder, bool keep_ledgers) {
  RETURN_IF_ERROR(files.MakeFolder(folder));
  ASSIGN_OR_RETURN(UniqueFd lock, files.Lock(folder + "/run.lock"));
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  bool had_records = false;
  for (const std::string& name : names) {
    if (!IsRecord(name)) continue;
    had_records = true;
    if (keep_ledgers && name.starts_with("ledger.")) continue;
    RETURN_IF_ERROR(files.Remove(folder + "/" + name));
  }
  if (had_records) {
    RETURN_IF_ERROR(files.Remove(folder + "/report.json"));
    RETURN_IF_ERROR(files.Remove(folder + "/report.html"));
  }
  return lock;
}

std::string LedgerLine(StepNumber step, Generation generation, int epoch,
                       std::span<const int64_t> samples) {
  std::string line =
      std::to_string(step) + ' ' + std::to_string(generation) + ' ' + std::to_string(epoch);
  for (int64_t sample : samples) {
    line += ' ';
    line += std::to_string(sample);
  }
  line += '\n';
  return line;
}

std::string LineageLine(int64_t number, int64_t parent, StepNumber from_step) {
  return "lineage " + std::to_string(number) + " of " + std::to_string(parent) + " from " +
         std::to_string(from_step) + "\n";
}

}  // namespace closeranks::telemetry
