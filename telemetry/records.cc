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

Record ToRecord(const StartEvent& event) {
  return Record("start")
      .Set("member", event.member)
      .Set("incarnation", event.incarnation)
      .Set("mode", event.mode)
      .Set("epochs", event.epochs)
      .Set("batch", event.batch)
      .Set("samples", event.samples)
      .Set("steps", event.steps)
      .Set("seed", event.seed)
      .Set("logical_shards", event.logical_shards)
      .Set("ranks", event.ranks);
}

Record ToRecord(const WorldEvent& event) {
  return Record("world")
      .Set("gen", event.gen)
      .Set("rank", event.rank)
      .Set("size", event.size)
      .Set("members", event.members)
      .Set("lost", event.lost)
      .Set("lost_members", event.lost_members)
      .Set("joined_members", event.joined_members)
      .Set("resume_step", event.resume_step)
      .Set("t_detected", event.t_detected)
      .Set("t_decided", event.t_decided)
      .Set("t_rewired", event.t_rewired);
}

Record ToRecord(const TransferEvent& event) {
  return Record("transfer")
      .Set("gen", event.gen)
      .Set("member", event.member)
      .Set("bytes", event.bytes)
      .Set("t_begin", event.t_begin)
      .Set("t_end", event.t_end);
}

Record ToRecord(const CommitEvent& event) {
  return Record("commit")
      .Set("step", event.step)
      .Set("epoch", event.epoch)
      .Set("loss", event.loss)
      .Set("gen", event.gen)
      .Set("size", event.size)
      .Set("samples", event.samples);
}

Record ToRecord(const MetricEvent& event) {
  return Record("metric").Set("name", event.name).Set("value", event.value);
}

Record ToRecord(const EndEvent& event) {
  return Record("end")
      .Set("step", event.step)
      .Set("weights_sha256", event.weights_sha256)
      .Set("seconds", event.seconds);
}

Record ToRecord(const RunEvent& event) {
  return Record("run").Set("command", event.command).Set("ranks", event.ranks);
}

Record ToRecord(const WorkerStartedEvent& event) {
  return Record("worker_started")
      .Set("member", event.member)
      .Set("incarnation", event.incarnation)
      .Set("pid", event.pid);
}

Record ToRecord(const KillEvent& event) {
  return Record("kill").Set("member", event.member).Set("rank", event.rank).Set("step", event.step);
}

Record ToRecord(const WorkerExitEvent& event) {
  return Record("worker_exit")
      .Set("member", event.member)
      .Set("incarnation", event.incarnation)
      .Set("code", event.code)
      .Set("signal", event.signal)
      .Set("ended_for", event.ended_for)
      .Set("t_lost", event.t_lost)
      .Set("t_heard", event.t_heard);
}

Record ToRecord(const SupervisorEndEvent& event) {
  return Record("end").Set("exit_code", event.exit_code);
}

}  // namespace closeranks::telemetry
