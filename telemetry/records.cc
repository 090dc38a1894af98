#include "telemetry/records.h"

namespace closeranks::telemetry {
namespace {

std::string ProcessName(const MemberProcess& process) {
  return std::to_string(process.member) + "." + process.incarnation.ToShortString();
}

bool IsOfARun(std::string_view name) {
  bool events = name.starts_with("events.") && name.ends_with(".jsonl");
  bool ledger = name.starts_with("ledger.") && name.ends_with(".txt");
  return events || ledger || name == "report.json" || name == "report.html";
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

Status PrepareReportFolder(Files& files, const std::string& folder) {
  RETURN_IF_ERROR(files.MakeFolder(folder));
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  for (const std::string& name : names) {
    if (IsOfARun(name)) RETURN_IF_ERROR(files.Remove(folder + "/" + name));
  }
  return OkStatus();
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

}  // namespace closeranks::telemetry
