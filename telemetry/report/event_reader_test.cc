#include "telemetry/report/event_reader.h"

#include <unistd.h>

#include <string>

#include "gtest/gtest.h"

namespace closeranks::telemetry {
namespace {

TimePoint At(int64_t nanoseconds) { return TimePoint(Duration(nanoseconds)); }

// Every field of every event is another than its default.
const StartEvent kStart = {3, "1a2b", "exact", 4, 256, 60000, 940, 7, 12, 5};
const WorldEvent kWorld = {2,     1,     3,     {1, 2, 4}, {0, 3}, {0, 5}, {4},    11,
                           At(1), At(2), At(3), At(9),     At(10), At(11), At(12), 1};
const TransferEvent kTransfer = {3, 4, 2048, At(4), At(5)};
const CommitEvent kCommit = {12, 2, 0.25, 3, 4, 96};
const SlowEvent kSlow = {57, 1.75};
const MetricEvent kMetric = {"test_accuracy", 0.875};
const EndEvent kEnd = {940, "ab12", 1.5};
const RunEvent kRun = {"train --mode=\"fast\"", 4};
const WorkerStartedEvent kStarted = {3, "1a2b", 4711};
const KillEvent kKill = {3, 2, 11, At(6)};
const WorkerExitEvent kExit = {3, "1a2b", 86, 9, "it was silent", "was ended", At(7), At(8)};
const SupervisorEndEvent kSupervisorEnd = {86, 12.5};
const SuspectedEvent kSuspected = {2, 3, At(9)};

class EventReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/event_reader_test." + std::to_string(getpid());
    ASSERT_TRUE(PrepareReportFolder(files_, folder_).ok());
  }
  std::unique_ptr<EventLog> Open(const std::string& path) {
    return EventLog::Open(files_, path, clock_).value();
  }

  SystemFiles files_;
  ManualClock clock_;
  std::string folder_;
};

TEST_F(EventReaderTest, EveryEventReadsBackAsItWasWritten) {
  clock_.Advance(Duration(42));
  auto log = Open(WorkerEventsPath(folder_, {3, {1, 1}}));
  log->Write(ToRecord(kStart));
  log->Write(ToRecord(kWorld));
  log->Write(ToRecord(kTransfer));
  log->Write(ToRecord(kCommit));
  log->Write(ToRecord(kMetric));
  log->Write(ToRecord(kSlow));
  log->Write(ToRecord(kEnd));
  log = Open(SupervisorEventsPath(folder_));
  log->Write(ToRecord(kRun));
  log->Write(ToRecord(kStarted));
  log->Write(ToRecord(kKill), kKill.t);
  log->Write(ToRecord(kExit));
  log->Write(ToRecord(kSuspected));
  log->Write(ToRecord(kSupervisorEnd));

  auto events = ReadEvents(files_, folder_);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->workers.size(), 1u);
  const WorkerEvents& worker = events->workers.front();
  EXPECT_EQ(worker.start.value().event, kStart);
  EXPECT_EQ(worker.start->t, At(42));
  EXPECT_EQ(worker.worlds.at(0).event, kWorld);
  EXPECT_EQ(worker.transfers.at(0).event, kTransfer);
  EXPECT_EQ(worker.commits.at(0).event, kCommit);
  EXPECT_EQ(worker.metrics.at(0).event, kMetric);
  EXPECT_EQ(worker.slow.at(0).event, kSlow);
  EXPECT_EQ(worker.end.value().event, kEnd);
  const SupervisorEvents& supervisor = events->supervisor.value();
  EXPECT_EQ(supervisor.run.value().event, kRun);
  EXPECT_EQ(supervisor.started.at(0).event, kStarted);
  EXPECT_EQ(supervisor.kills.at(0).event, kKill);
  EXPECT_EQ(supervisor.exits.at(0).event, kExit);
  EXPECT_EQ(supervisor.suspected.at(0).event, kSuspected);
  EXPECT_EQ(supervisor.end.value().event, kSupervisorEnd);
}

}  // namespace
}  // namespace closeranks::telemetry
