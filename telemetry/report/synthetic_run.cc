#include "telemetry/report/synthetic_run.h"

#include <unistd.h>

#include <memory>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "telemetry/event_log.h"

namespace closeranks::telemetry {
namespace {

TimePoint At(int64_t milliseconds) { return TimePoint(std::chrono::milliseconds(milliseconds)); }

class Writer {
 public:
  Writer(Files& files, std::string folder, const SyntheticOptions& options)
      : files_(files), folder_(std::move(folder)), options_(options) {}

  void WriteSupervisor();
  void WriteWorker(int index);
  void WriteLedger(int index);

 private:
  WorldEvent World(int index, Generation generation) const;

  Files& files_;
  const std::string folder_;
  const SyntheticOptions& options_;
  ManualClock clock_;
};

void Writer::WriteSupervisor() {
  auto log = EventLog::Open(files_, SupervisorEventsPath(folder_), clock_).value();
  auto started = [&](int index, int64_t milliseconds) {
    MemberProcess process = SyntheticProcess(index);
    WorkerStartedEvent event{process.member, process.incarnation.ToString(), 100 + index};
    log->Write(ToRecord(event), At(milliseconds));
  };
  log->Write(ToRecord(RunEvent{options_.command, 3}), At(800));
  for (int index = 0; index < 3; ++index) started(index, 810);
  if (options_.record_kill) {
    KillEvent kill{.member = 0, .rank = 0, .step = 4, .t = At(1350)};
    log->Write(ToRecord(kill), kill.t);
  }
  if (options_.record_exit) {
    WorkerExitEvent exit;
    exit.member = 0;
    exit.incarnation = SyntheticProcess(0).incarnation.ToString();
    exit.signal = 9;
    log->Write(ToRecord(exit), TimePoint(std::chrono::microseconds(1350500)));
  }
  started(3, 1380);
  log->Write(ToRecord(SupervisorEndEvent{0}), At(1800));
}

WorldEvent Writer::World(int index, Generation generation) const {
  MemberId member = SyntheticProcess(index).member;
  WorldEvent world{.gen = generation,
                   .rank = member,
                   .size = 3,
                   .members = {0, 1, 2},
                   .lost = {},
                   .lost_members = {},
                   .joined_members = {},
                   .resume_step = 0,
                   .t_detected = {},
                   .t_decided = At(990),
                   .t_rewired = At(1000),
                   .t_asked = At(950),
                   .t_transfer_begin = {},
                   .t_transfer_end = {},
                   .t_entered = At(1000)};
  if (generation == 2) {
    world.rank = member - 1;
    world.size = 2;
    world.members = {1, 2};
    world.lost = world.lost_members = {0};
    world.resume_step = 3;
    int64_t later = member == 1 ? 1 : 0;
    if (options_.record_detection) world.t_detected = At(1351 + later);
    world.t_decided = At(1354 + later);
    world.t_rewired = At(1359 + later);
    world.t_asked = At(1361 + later);
    world.t_entered = At(1364 + later);
  }
  if (generation == 3) {
    world.joined_members = {0};
    world.resume_step = 4;
    world.t_decided = At(1465);
    world.t_rewired = world.t_asked = world.t_entered = At(1470);
  }
  return world;
}

void Writer::WriteWorker(int index) {
  MemberProcess process = SyntheticProcess(index);
  auto log = EventLog::Open(files_, WorkerEventsPath(folder_, process), clock_).value();
  auto commit = [&](StepNumber step, Generation generation, int size, int64_t milliseconds) {
    int epoch = step > 3 ? 2 : 1;
    CommitEvent event{step, epoch, 2.0 / static_cast<double>(step), generation, size, 4};
    log->Write(ToRecord(event), At(milliseconds));
  };
  StartEvent start{process.member, process.incarnation.ToString(), "exact", 2, 4, 12, 6, 7, 6, 3};
  log->Write(ToRecord(start), At(index == 3 ? 1390 : 900));
  if (index == 3) {
    log->Write(ToRecord(TransferEvent{3, 0, 2048, At(1450), At(1460)}), At(1460));
  } else {
    log->Write(ToRecord(World(index, 1)), At(1000));
    for (StepNumber step = 1; step <= 3; ++step) {
      commit(step, 1, 3, 1000 + 100 * static_cast<int64_t>(step));
    }
    if (index == 0) return;
    log->Write(ToRecord(World(index, 2)), At(1360));
    commit(4, 2, 2, index == 1 ? 1401 : 1400);
  }
  log->Write(ToRecord(World(index, 3)), At(1470));
  commit(5, 3, 3, index == 3 ? 1501 : 1500);
  commit(6, 3, 3, 1600);
  log->Write(ToRecord(MetricEvent{"test_accuracy", 0.875}), At(1650));
  log->Write(ToRecord(EndEvent{6, "ab12", 0.6}), At(1700));
}

void Writer::WriteLedger(int index) {
  auto file = files_.OpenForAppend(LedgerPath(folder_, SyntheticProcess(index))).value();
  StepNumber first = index == 3 ? 5 : 1;
  StepNumber last = index == 0 ? 2 : 6;  // step 3 wasn't known to be stable when rank 0 was killed
  for (StepNumber step = first; step <= last; ++step) {
    Generation generation = step <= 3 ? 1 : step == 4 ? 2 : 3;
    auto begin = static_cast<int64_t>((step - 1) % 3 * 4);
    std::vector<int64_t> ids = {begin + 3, begin, begin + 1, begin + 2};
    Status appended = file->Append(LedgerLine(step, generation, step > 3 ? 2 : 1, ids));
    CHECK(appended.ok()) << appended;
  }
}

}  // namespace

MemberProcess SyntheticProcess(int index) {
  return {index % 3, {0xa0a0a0a000000000 + (static_cast<uint64_t>(index) << 32), 1}};
}

void WriteSyntheticRun(Files& files, const std::string& folder, const SyntheticOptions& options) {
  auto prepared = PrepareReportFolder(files, folder);
  CHECK(prepared.ok()) << prepared.status();
  for (const std::string& ledger : prepared->earlier_ledgers) CHECK(files.Remove(ledger).ok());
  Writer writer(files, folder, options);
  writer.WriteSupervisor();
  for (int index = 0; index < 4; ++index) {
    writer.WriteWorker(index);
    writer.WriteLedger(index);
  }
}

std::string NewFolder(std::string_view name) {
  return testing::TempDir() + "/" + std::string(name) + "." + std::to_string(getpid());
}

void EditFile(Files& files, const std::string& path, std::string_view from, std::string_view to) {
  std::string text = files.Read(path).value();
  size_t place = text.find(from);
  CHECK(place != std::string::npos) << path << " has no " << from;
  text.replace(place, from.size(), to);
  Status replaced = files.Replace(path, text);
  CHECK(replaced.ok()) << replaced;
}

}  // namespace closeranks::telemetry
