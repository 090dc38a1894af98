#include "telemetry/records.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::telemetry {
namespace {

const MemberProcess kProcess{3, {0x1a2b3c4d00000000, 7}};

TEST(Records, FilesAreNamedByMemberAndTheFirstOfItsIncarnation) {
  EXPECT_EQ(WorkerEventsPath("dir", kProcess), "dir/events.3.1a2b3c4d.jsonl");
  EXPECT_EQ(SupervisorEventsPath("dir"), "dir/events.supervisor.jsonl");
  EXPECT_EQ(LedgerPath("dir", kProcess), "dir/ledger.3.1a2b3c4d.txt");
  EXPECT_EQ(FlightPath("dir", kProcess), "dir/flight.3.1a2b3c4d.bin");
  EXPECT_EQ(NoticesPath("dir", kProcess), "dir/notices.3.1a2b3c4d.txt");
}

TEST(Records, ALedgerLineNamesStepGenerationEpochAndEverySample) {
  std::vector<int64_t> samples = {5, 0, 59999};
  EXPECT_EQ(LedgerLine(12, 3, 1, samples), "12 3 1 5 0 59999\n");
  EXPECT_EQ(LedgerLine(12, 3, 1, {}), "12 3 1\n");
}

TEST(Records, AWorldIsWrittenWithTheNamesThatTheHeaderGives) {
  WorldEvent world{.gen = 2,
                   .rank = 0,
                   .size = 2,
                   .members = {1, 2},
                   .lost = {0},
                   .lost_members = {0},
                   .joined_members = {},
                   .resume_step = 11,
                   .t_detected = TimePoint(Duration(1)),
                   .t_decided = TimePoint(Duration(2)),
                   .t_rewired = TimePoint(Duration(3)),
                   .t_asked = TimePoint(Duration(4)),
                   .t_transfer_begin = TimePoint(Duration(5)),
                   .t_transfer_end = TimePoint(Duration(6)),
                   .t_entered = TimePoint(Duration(7)),
                   .spares = 1};
  EXPECT_EQ(ToRecord(world).fields(),
            R"("event":"world","gen":2,"rank":0,"size":2,"spares":1,"members":[1,2],"lost":[0],)"
            R"("lost_members":[0],"joined_members":[],"resume_step":11,"t_detected":1,)"
            R"("t_decided":2,"t_rewired":3,"t_asked":4,"t_transfer_begin":5,"t_transfer_end":6,)"
            R"("t_entered":7)");
}

std::string NewFolder(const std::string& name) {
  return testing::TempDir() + "/records_test." + std::to_string(getpid()) + "/" + name;
}

TEST(Records, PreparingTheFolderRemovesAnOlderRunAndNothingElse) {
  SystemFiles files;
  std::string folder = NewFolder("old");
  ASSERT_TRUE(PrepareReportFolder(files, folder).ok());
  for (const std::string& path :
       {WorkerEventsPath(folder, kProcess), SupervisorEventsPath(folder),
        LedgerPath(folder, kProcess), FlightPath(folder, kProcess), NoticesPath(folder, kProcess),
        FlightPath(folder, kProcess) + ".tmp.1a2b", folder + "/report.json",
        folder + "/report.html", folder + "/mine.txt", folder + "/events.md",
        folder + "/events.2026.jsonl"}) {
    ASSERT_TRUE(files.CreateExclusively(path, "x").ok());
  }
  ASSERT_TRUE(PrepareReportFolder(files, folder).ok());
  EXPECT_EQ(files.List(folder).value(),
            (std::vector<std::string>{"events.2026.jsonl", "events.md", "ledger.3.1a2b3c4d.txt",
                                      "mine.txt", "run.lock"}));
}

// What a start of this lineage finds of the one before, and leaves there.
bool LedgerStays(Files& files, const std::string& folder, const Incarnation& lineage,
                 bool keep_ledgers) {
  auto prepared = PrepareReportFolder(files, folder);
  EXPECT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_TRUE(
      SettleEarlierLedgers(files, folder, prepared->earlier_ledgers, lineage, keep_ledgers).ok());
  const bool stays = files.Read(LedgerPath(folder, kProcess)).ok();
  if (!stays) {
    EXPECT_TRUE(files.CreateExclusively(LedgerPath(folder, kProcess), "x").ok());
  }
  return stays;
}

TEST(Records, LedgersStayForWhoJoinsTheirRunAgainOrIsToldThatItIsAFurtherStart) {
  SystemFiles files;
  const std::string folder = NewFolder("further");
  EXPECT_FALSE(LedgerStays(files, folder, {1, 1}, false));
  EXPECT_TRUE(LedgerStays(files, folder, {1, 1}, false));
  EXPECT_TRUE(LedgerStays(files, folder, {2, 2}, true));
  EXPECT_TRUE(LedgerStays(files, folder, {2, 2}, false));
  EXPECT_FALSE(LedgerStays(files, folder, {3, 3}, false));
}

TEST(Records, AFolderThatHeldNoRunKeepsItsReports) {
  SystemFiles files;
  std::string folder = NewFolder("users");
  ASSERT_TRUE(files.MakeFolder(folder).ok());
  for (const char* name : {"/report.json", "/report.html"}) {
    ASSERT_TRUE(files.CreateExclusively(folder + name, "x").ok());
  }
  ASSERT_TRUE(PrepareReportFolder(files, folder).ok());
  EXPECT_EQ(files.List(folder).value(),
            (std::vector<std::string>{"report.html", "report.json", "run.lock"}));
}

TEST(Records, WhatALiveRunWritesIsntRemoved) {
  SystemFiles files;
  std::string folder = NewFolder("live");
  auto first = PrepareReportFolder(files, folder);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(files.CreateExclusively(SupervisorEventsPath(folder), "x").ok());
  EXPECT_EQ(PrepareReportFolder(files, folder).status().code(), StatusCode::kAborted);
  EXPECT_TRUE(files.Read(SupervisorEventsPath(folder)).ok());
  first->lock.Reset();
  EXPECT_TRUE(PrepareReportFolder(files, folder).ok());
  EXPECT_FALSE(files.Read(SupervisorEventsPath(folder)).ok());
}

}  // namespace
}  // namespace closeranks::telemetry
