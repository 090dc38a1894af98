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
      R"((events|ledger|flight|notices)\.\d+\.[0-9a-f]{8}\.(jsonl|txt|bin))"
      R"((\.tmp\.[0-9a-f]+)?)");  // a supervisor was killed while it wrote
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

Result<ReportFolder> PrepareReportFolder(Files& files, const std::string& folder) {
  ReportFolder prepared;
  RETURN_IF_ERROR(files.MakeFolder(folder));
  ASSIGN_OR_RETURN(prepared.lock, files.Lock(folder + "/run.lock"));
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  bool had_records = false;
  for (const std::string& name : names) {
    if (!IsRecord(name)) continue;
    had_records = true;
    const std::string path = folder + "/" + name;
    if (name.starts_with("ledger.")) {
      prepared.earlier_ledgers.push_back(path);
    } else {
      RETURN_IF_ERROR(files.Remove(path));
    }
  }
  if (had_records) {
    RETURN_IF_ERROR(files.Remove(folder + "/report.json"));
    RETURN_IF_ERROR(files.Remove(folder + "/report.html"));
  }
  return prepared;
}

// Not synced, which may take long, while others wait for the supervisor.
Status SettleEarlierLedgers(Files& files, const std::string& folder,
                            const std::vector<std::string>& earlier_ledgers,
                            const Incarnation& lineage, bool keep_ledgers) {
  const std::string path = folder + "/run.lineage";
  const std::string line = lineage.ToString() + "\n";
  const Result<std::string> before = files.Read(path);
  if (before.ok() && *before == line) return OkStatus();
  if (!keep_ledgers) {
    for (const std::string& ledger : earlier_ledgers) RETURN_IF_ERROR(files.Remove(ledger));
  }
  RETURN_IF_ERROR(files.Remove(path));
  ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, files.OpenForAppend(path));
  return file->Append(line);
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
