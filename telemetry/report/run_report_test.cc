#include "telemetry/report/run_report.h"

#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "telemetry/records.h"
#include "telemetry/report/report_html.h"
#include "telemetry/report/report_json.h"
#include "telemetry/report/report_text.h"
#include "telemetry/report/synthetic_run.h"
#include "telemetry/report/verdict.h"

namespace closeranks::telemetry {
namespace {

class Report : public testing::Test {
 protected:
  Report() : folder_(NewFolder(testing::UnitTest::GetInstance()->current_test_info()->name())) {}

  void Write(const SyntheticOptions& options = {}) { WriteSyntheticRun(files_, folder_, options); }
  void Edit(int process, std::string_view from, std::string_view to) {
    EditFile(files_, WorkerEventsPath(folder_, SyntheticProcess(process)), from, to);
  }
  void EditSupervisor(std::string_view from, std::string_view to) {
    EditFile(files_, SupervisorEventsPath(folder_), from, to);
  }
  Result<RunReport> Read() { return ReadRunReport(files_, folder_); }

  SystemFiles files_;
  const std::string folder_;
};

TEST_F(Report, TimesARecoveryByTheSurvivorWhoseCommitCameFirst) {
  Write();
  RunReport report = Read().value();
  ASSERT_EQ(report.recoveries.size(), 1u);
  const Recovery& recovery = report.recoveries[0];
  EXPECT_EQ(recovery.lost_ranks, std::vector<int32_t>{0});
  EXPECT_EQ(recovery.generation, 2u);
  EXPECT_EQ(recovery.survivors, 2);
  EXPECT_EQ(recovery.torn_step, 4u);
  EXPECT_EQ(recovery.timed_from, LossTimedFrom::kKill);
  EXPECT_DOUBLE_EQ(recovery.at_seconds, 0.35);
  EXPECT_DOUBLE_EQ(recovery.detect_ms, 1);
  EXPECT_DOUBLE_EQ(recovery.agree_ms, 3);
  EXPECT_DOUBLE_EQ(recovery.rewire_ms, 5);
  EXPECT_DOUBLE_EQ(recovery.catch_up_ms, 3);
  EXPECT_DOUBLE_EQ(recovery.total_ms, 12);
  EXPECT_DOUBLE_EQ(recovery.replay_ms.value(), 36);
  // All of it, and 2 ms in which the training thread was still in its own part.
  EXPECT_DOUBLE_EQ(recovery.commit_ms.value(), 50);
}

TEST_F(Report, ATransferToAJoinerIsPartOfNeitherCatchUpNorReplay) {
  Write();
  auto transfer = [&](const std::string& after, const std::string& begin, const std::string& end) {
    constexpr std::string_view kNone = R"("t_transfer_begin":0,"t_transfer_end":0,)";
    Edit(2, std::string(kNone) + after,
         R"("t_transfer_begin":)" + begin + R"(,"t_transfer_end":)" + end + "," + after);
  };
  // In the new world itself, and in another one that follows it before the commit.
  transfer(R"("t_entered":1364000000)", "1362000000", "1363000000");
  std::string path = WorkerEventsPath(folder_, SyntheticProcess(2));
  EditFile(files_, path, R"("step":4,"epoch":2,"loss":0.5,"gen":2)",
           R"("step":4,"epoch":2,"loss":0.5,"gen":3)");
  EditFile(files_, path, R"({"t":1400000000,"event":"commit")",
           R"({"t":1475000000,"event":"commit")");
  EditFile(files_, WorkerEventsPath(folder_, SyntheticProcess(1)),
           R"({"t":1401000000,"event":"commit")", R"({"t":1490000000,"event":"commit")");
  transfer(R"("t_entered":1470000000)", "1450000000", "1460000000");
  const Recovery recovery = Read().value().recoveries.at(0);
  EXPECT_DOUBLE_EQ(recovery.catch_up_ms, 2);
  EXPECT_DOUBLE_EQ(recovery.total_ms, 11);
  EXPECT_DOUBLE_EQ(recovery.replay_ms.value(), 1475 - 1364 - 10);
  EXPECT_DOUBLE_EQ(recovery.commit_ms.value(), 1475 - 1350);
}

TEST_F(Report, TimesAJoinFromTheStartOfItsProcessToItsFirstCommit) {
  Write();
  RunReport report = Read().value();
  ASSERT_EQ(report.joins.size(), 1u);
  const Join& join = report.joins[0];
  EXPECT_EQ(join.rank, 0);
  EXPECT_EQ(join.first_step, 5u);
  EXPECT_DOUBLE_EQ(join.boot_ms.value(), 10);
  EXPECT_DOUBLE_EQ(join.transfer_ms.value(), 10);
  EXPECT_EQ(join.transfer_bytes, 2048);
  EXPECT_DOUBLE_EQ(join.total_ms.value(), 121);
}

TEST_F(Report, AJoinerThatDoesntKnowThatItIsNewIsStillNoSurvivor) {
  Write();
  // Started again so quickly that one change of the world both drops the dead and admits the new.
  for (int process : {1, 2}) Edit(process, R"("gen":3,"rank")", R"("gen":9,"rank")");
  for (int process : {1, 2}) {
    std::string path = WorkerEventsPath(folder_, SyntheticProcess(process));
    EditFile(files_, path, R"("lost_members":[0],"joined_members":[])",
             R"("lost_members":[0],"joined_members":[0])");
  }
  Edit(3,
       R"("gen":3,"rank":0,"size":3,"spares":0,"members":[0,1,2],"lost":[],"lost_members":[],)"
       R"("joined_members":[0])",
       R"("gen":2,"rank":0,"size":3,"spares":0,"members":[0,1,2],"lost":[],"lost_members":[],)"
       R"("joined_members":[])");
  RunReport report = Read().value();
  EXPECT_EQ(report.recoveries.at(0).lost_ranks, std::vector<int32_t>{0});
  EXPECT_DOUBLE_EQ(report.recoveries.at(0).total_ms, 12);
  EXPECT_EQ(report.joins.at(0).generation, 2u);
  EXPECT_EQ(report.joins.at(0).first_step, 5u);
}

TEST_F(Report, HasTheRunsNumbers) {
  Write();
  RunReport report = Read().value();
  EXPECT_EQ(report.ranks, 3);
  EXPECT_EQ(report.steps, 6u);
  EXPECT_DOUBLE_EQ(report.seconds, 0.6);
  EXPECT_DOUBLE_EQ(report.steps_per_second, 10);
  EXPECT_DOUBLE_EQ(report.samples_per_second, 40);
  EXPECT_EQ(report.test_accuracy, 0.875);
  EXPECT_EQ(report.weights_sha256, "ab12");
  EXPECT_TRUE(report.weights_agree);
  EXPECT_EQ(report.workers_at_end, 3);
  ASSERT_EQ(report.world_sizes.size(), 3u);
  EXPECT_EQ(report.world_sizes[1].size, 2);
  EXPECT_DOUBLE_EQ(report.world_sizes[1].at_seconds, 0.359);
  double samples = 0;
  for (const ThroughputBin& bin : report.throughput) {
    samples += bin.samples_per_second * report.bin_seconds;
  }
  EXPECT_NEAR(samples, 24, 1e-6);
  EXPECT_TRUE(report.notes.empty()) << report.notes[0];
  EXPECT_TRUE(report.Sound());
}

TEST_F(Report, ARunThatWentOnFromACheckpointIsSoundAndSaysSo) {
  Write();
  // These are the records of the second start; of the first there are 3 more steps to be done.
  for (int process : {0, 1, 2, 3}) {
    const std::string path = LedgerPath(folder_, SyntheticProcess(process));
    std::string ledger = files_.Read(path).value();
    ASSERT_TRUE(files_.Replace(path, LineageLine(2, 1, 3) + ledger).ok());
    EditFile(files_, WorkerEventsPath(folder_, SyntheticProcess(process)), R"("steps":6)",
             R"("steps":9)");
  }
  RunReport report = Read().value();
  EXPECT_TRUE(report.Sound()) << Verdict(report);
  EXPECT_EQ(report.notes.at(0).find("the run went on from its checkpoint of step 3"), 0u);
  EXPECT_EQ(Verdict(report).find("were done"), std::string::npos) << Verdict(report);
}

TEST_F(Report, SaysInOneLineWhatHappened) {
  Write();
  EXPECT_EQ(Verdict(Read().value()),
            "Rank 0 was killed in step 4; 2 survivors had a new world 9.0 ms and committed again "
            "50.0 ms after the kill. A new worker joined as rank 0 at step 5. No sample was lost, "
            "none repeated.");
}

TEST_F(Report, JsonHasEveryPromisedField) {
  Write();
  auto json = nlohmann::json::parse(ReportJson(Read().value()));
  EXPECT_EQ(json["ranks"], 3);
  EXPECT_EQ(json["mode"], "exact");
  EXPECT_EQ(json["epochs"], 2);
  EXPECT_EQ(json["steps"], 6);
  EXPECT_EQ(json["test_accuracy"], 0.875);
  EXPECT_EQ(json["samples_expected"], 24);
  EXPECT_EQ(json["samples_consumed"], 24);
  EXPECT_EQ(json["samples_lost"], 0);
  EXPECT_EQ(json["samples_duplicated"], 0);
  EXPECT_EQ(json["weights_sha256"], "ab12");
  EXPECT_EQ(json["steps_per_second"], 10);
  const auto& recovery = json["recoveries"].at(0);
  EXPECT_EQ(recovery["lost_ranks"], nlohmann::json({0}));
  EXPECT_EQ(recovery["detect_ms"], 1);
  EXPECT_EQ(recovery["agree_ms"], 3);
  EXPECT_EQ(recovery["rewire_ms"], 5);
  EXPECT_EQ(recovery["catch_up_ms"], 3);
  EXPECT_EQ(recovery["total_ms"], 12);
  EXPECT_EQ(recovery["replay_ms"], 36);
  EXPECT_EQ(recovery["commit_ms"], 50);
  EXPECT_EQ(recovery["timed_from"], "kill");
  EXPECT_TRUE(recovery["ended_for"].is_null());
  EXPECT_EQ(json["unanswered_kills"], nlohmann::json::array());
  ASSERT_EQ(json["abnormal_exits"].size(), 1u);
  const auto& exit = json["abnormal_exits"].at(0);
  EXPECT_EQ(exit["rank"], 0);
  EXPECT_EQ(exit["member"], 0);
  EXPECT_TRUE(exit["exit_code"].is_null());
  EXPECT_EQ(exit["signal"], 9);
  EXPECT_TRUE(exit["ended_for"].is_null());
  EXPECT_EQ(exit["at_seconds"], 0.3505);
  const auto& join = json["joins"].at(0);
  EXPECT_EQ(join["rank"], 0);
  EXPECT_EQ(join["transfer_ms"], 10);
  EXPECT_EQ(join["total_ms"], 121);
}

TEST_F(Report, TerminalTableShowsTheReplayApart) {
  Write();
  std::string text = ReportText(Read().value());
  EXPECT_NE(text.find("test accuracy  87.50 %"), std::string::npos) << text;
  EXPECT_NE(text.find("24 expected, 24 consumed, 0 lost, 0 duplicated"), std::string::npos) << text;
  EXPECT_NE(text.find("| replay apart"), std::string::npos) << text;
  EXPECT_NE(text.find("1.0    3.0     5.0       3.0   12.0            36.0            50.0"),
            std::string::npos)
      << text;
}

TEST_F(Report, AnEditedLedgerMovesBothCountersAndTheVerdict) {
  Write();
  EditFile(files_, LedgerPath(folder_, SyntheticProcess(1)), "4 2 2 3 0 1 2\n", "4 2 2 3 0 1 5\n");
  RunReport report = Read().value();
  EXPECT_FALSE(report.Sound());
  auto json = nlohmann::json::parse(ReportJson(report));
  EXPECT_EQ(json["samples_lost"], 1);
  EXPECT_EQ(json["samples_duplicated"], 1);
  EXPECT_NE(Verdict(report).find("1 sample lost, 1 repetition."), std::string::npos);
}

TEST_F(Report, AStepThatIsInNoLedgerIsSaidAndNotSound) {
  Write();
  for (int process : {1, 2}) {
    EditFile(files_, LedgerPath(folder_, SyntheticProcess(process)), "4 2 2 ", "7 2 2 ");
  }
  RunReport report = Read().value();
  EXPECT_FALSE(report.Sound());
  EXPECT_NE(Verdict(report).find("1 step is in no ledger."), std::string::npos) << Verdict(report);
}

TEST_F(Report, WorkersThatNeverCameIntoAWorldDidntTrain) {
  Write({.record_kill = false, .record_exit = false, .record_detection = false});
  for (int process : {1, 2, 3}) {
    ASSERT_TRUE(files_.Remove(WorkerEventsPath(folder_, SyntheticProcess(process))).ok());
  }
  Edit(0, R"("size":3,"spares":0,"members":[0,1,2])", R"("size":1,"spares":0,"members":[0])");
  EXPECT_EQ(Verdict(Read().value()).find("1 worker trained 3 steps"), 0u)
      << Verdict(Read().value());
}

TEST_F(Report, TwoKilledAtOnceAreOneRecoveryTimedFromTheLast) {
  Write();
  EditSupervisor(R"({"t":1350000000,"event":"kill","member":0,"rank":0,"step":4})",
                 R"({"t":1349000000,"event":"kill","member":0,"rank":0,"step":4})"
                 "\n"
                 R"({"t":1350000000,"event":"kill","member":3,"rank":3,"step":4})");
  for (int process : {1, 2}) {
    Edit(process, R"("lost":[0],"lost_members":[0])", R"("lost":[0,3],"lost_members":[0,3])");
  }
  RunReport report = Read().value();
  ASSERT_EQ(report.recoveries.size(), 1u);
  EXPECT_EQ(report.recoveries[0].lost_ranks, (std::vector<int32_t>{0, 3}));
  EXPECT_DOUBLE_EQ(report.recoveries[0].detect_ms, 1);
  EXPECT_DOUBLE_EQ(report.recoveries[0].total_ms, 12);
  EXPECT_EQ(Verdict(report).find("Ranks 0 and 3 were killed in step 4;"), 0u);
}

TEST_F(Report, ALossThatWasNoticedBeforeTheLastKillIsDetectedInNoTime) {
  Write();
  EditSupervisor(R"({"t":1350000000,"event":"kill")", R"({"t":1352000000,"event":"kill")");
  const Recovery recovery = Read().value().recoveries.at(0);
  EXPECT_DOUBLE_EQ(recovery.detect_ms, 0);
  EXPECT_DOUBLE_EQ(recovery.agree_ms, 2);
  EXPECT_DOUBLE_EQ(recovery.rewire_ms, 5);
  EXPECT_DOUBLE_EQ(recovery.total_ms, 10);
}

TEST_F(Report, ACrashIsTimedFromItsExitAndSaysSo) {
  Write({.record_kill = false});
  RunReport report = Read().value();
  ASSERT_EQ(report.recoveries.size(), 1u);
  EXPECT_EQ(report.recoveries[0].timed_from, LossTimedFrom::kExit);
  EXPECT_DOUBLE_EQ(report.recoveries[0].detect_ms, 0.5);
  EXPECT_DOUBLE_EQ(report.recoveries[0].total_ms, 11.5);
  EXPECT_EQ(Verdict(report).find("Rank 0 died in step 4; 2 survivors"), 0u);
}

TEST_F(Report, ACrashWithoutAnyRecordOfItIsTimedFromItsDetectionAndSaysSo) {
  Write({.record_kill = false, .record_exit = false});
  RunReport report = Read().value();
  ASSERT_EQ(report.recoveries.size(), 1u);
  EXPECT_EQ(report.recoveries[0].timed_from, LossTimedFrom::kDetection);
  EXPECT_DOUBLE_EQ(report.recoveries[0].total_ms, 11);
  EXPECT_NE(Verdict(report).find("after the loss was noticed."), std::string::npos);
  std::string text = ReportText(report);
  EXPECT_NE(text.find("-    3.0     5.0       3.0  11.0 from notice"), std::string::npos) << text;
  EXPECT_NE(text.find("(from notice: no detect, "), std::string::npos) << text;
}

TEST_F(Report, ALossThatItsLauncherSawBeforeItReapedItIsTimedFromThat) {
  Write({.record_kill = false});
  EditSupervisor(R"("ended_for":"","cause":"","t_lost":0)",
                 R"("ended_for":"","cause":"","t_lost":1350100000)");
  const Recovery recovery = Read().value().recoveries.at(0);
  EXPECT_EQ(recovery.timed_from, LossTimedFrom::kExit);
  EXPECT_DOUBLE_EQ(recovery.detect_ms, 0.9);
  EXPECT_DOUBLE_EQ(recovery.total_ms, 11.9);
}

TEST_F(Report, AWorkerThatFellSilentIsTimedFromItsLastSignOfLifeAndSaysSo) {
  Write({.record_kill = false});
  // Stopped soon after 1250 ms; ended and reaped when a survivor had noticed already.
  EditSupervisor(R"({"t":1350500000,"event":"worker_exit")",
                 R"({"t":1353000000,"event":"worker_exit")");
  EditSupervisor(R"("ended_for":"","cause":"","t_lost":0,"t_heard":0)",
                 R"("ended_for":"it wasn't heard for 100 ms","cause":"","t_lost":1352000000,)"
                 R"("t_heard":1250000000)");
  RunReport report = Read().value();
  const Recovery& recovery = report.recoveries.at(0);
  EXPECT_EQ(recovery.timed_from, LossTimedFrom::kLastHeard);
  EXPECT_DOUBLE_EQ(recovery.detect_ms, 101);
  EXPECT_DOUBLE_EQ(recovery.total_ms, 112);
  EXPECT_EQ(Verdict(report).find("Rank 0 fell silent in step 4; 2 survivors had a new world 109"),
            0u)
      << Verdict(report);
  EXPECT_NE(Verdict(report).find("after the last sign of life."), std::string::npos);
  auto json = nlohmann::json::parse(ReportJson(report));
  EXPECT_EQ(json["recoveries"].at(0)["timed_from"], "last_heard");
  EXPECT_EQ(json["recoveries"].at(0)["ended_for"], "it wasn't heard for 100 ms");
  EXPECT_EQ(json["abnormal_exits"].at(0)["ended_for"], "it wasn't heard for 100 ms");
  std::string html = ReportHtml(report);
  EXPECT_NE(html.find("<td>ended, as it wasn&#39;t heard for 100 ms</td>"), std::string::npos);
  EXPECT_NE(html.find("detect begins with its last sign of life"), std::string::npos);
}

TEST_F(Report, AnEndWithAnExitCodeHasNoSignal) {
  Write({.record_kill = false});
  EditSupervisor(R"("code":-1,"signal":9)", R"("code":7,"signal":0)");
  auto json = nlohmann::json::parse(ReportJson(Read().value()));
  EXPECT_EQ(json["abnormal_exits"].at(0)["exit_code"], 7);
  EXPECT_TRUE(json["abnormal_exits"].at(0)["signal"].is_null());
}

TEST_F(Report, NamesTheCauseOfALoss) {
  Write({.record_kill = false});
  EditSupervisor(R"("cause":"")", R"("cause":"threw a bad sample in step 4")");
  const RunReport report = Read().value();
  auto json = nlohmann::json::parse(ReportJson(report));
  EXPECT_EQ(json["recoveries"].at(0)["cause"], "threw a bad sample in step 4");
  EXPECT_NE(ReportHtml(report).find("<td>threw a bad sample in step 4</td>"), std::string::npos);
}

TEST_F(Report, ACrashIsNotTimedFromAnEarlierExitOfItsMember) {
  Write({.record_kill = false, .record_exit = false});
  constexpr std::string_view kRestarted = R"({"t":1380000000,"event":"worker_started")";
  std::string lost = SyntheticProcess(0).incarnation.ToString();
  auto exit = [](const std::string& t, const std::string& incarnation) {
    return R"({"t":)" + t + R"(,"event":"worker_exit","member":0,"incarnation":")" + incarnation +
           R"(","code":1,"signal":0,"ended_for":"","cause":"","t_lost":0,"t_heard":0})" + "\n";
  };
  // Before generation 1: one that had said its name, and one that hadn't.
  std::string earlier = exit("850000000", "00000000000000000000000000000001");
  earlier += exit("860000000", "");
  EditSupervisor(kRestarted, earlier + std::string(kRestarted));
  EXPECT_EQ(Read().value().recoveries.at(0).timed_from, LossTimedFrom::kDetection);
  EXPECT_DOUBLE_EQ(Read().value().recoveries.at(0).total_ms, 11);
  // The lost process's own, and one of a process that never came into a world.
  std::string own = exit("1350500000", lost);
  own += exit("1350900000", "00000000000000000000000000000002");
  EditSupervisor(kRestarted, own + std::string(kRestarted));
  EXPECT_EQ(Read().value().recoveries.at(0).timed_from, LossTimedFrom::kExit);
  EXPECT_DOUBLE_EQ(Read().value().recoveries.at(0).total_ms, 11.5);
}

TEST_F(Report, APlannedLeaveIsNoRecovery) {
  Write({.record_kill = false, .record_exit = false, .record_detection = false});
  EXPECT_TRUE(Read().value().recoveries.empty());
}

TEST_F(Report, WhoLeftInGoodOrderIsNoLoss) {
  Write({.record_kill = false});
  EXPECT_EQ(Read().value().recoveries.size(), 1u);
  EditSupervisor(R"("code":-1,"signal":9)", R"("code":80,"signal":0)");
  EXPECT_TRUE(Read().value().recoveries.empty());
  EXPECT_TRUE(Read().value().abnormal_exits.empty());
}

TEST_F(Report, ASurvivorThatOnlyHeardOfTheLossUsesWhenTheFirstOtherNoticed) {
  Write();
  Edit(2, R"("t_detected":1351000000)", R"("t_detected":0)");
  const Recovery recovery = Read().value().recoveries.at(0);
  EXPECT_DOUBLE_EQ(recovery.detect_ms, 2);  // member 1 noticed at 1352
  EXPECT_DOUBLE_EQ(recovery.agree_ms, 2);
  EXPECT_DOUBLE_EQ(recovery.total_ms, 12);
}

TEST_F(Report, WhoWasSlowIsNotedWithItsFactor) {
  Write();
  EditFile(files_, WorkerEventsPath(folder_, SyntheticProcess(1)), R"({"t")",
           R"({"t":1,"event":"slow","step":3,"factor":1.75})"
           "\n"
           R"({"t")");
  EXPECT_EQ(Read().value().notes.at(0),
            "member 1 took 1.75 times as long as the others for a sample, as of step 3");
}

TEST_F(Report, AKillThatNobodyNoticedIsNoted) {
  Write();
  EditSupervisor(R"({"t":1350000000,"event":"kill","member":0)",
                 R"({"t":1350000000,"event":"kill","member":1)");
  ASSERT_FALSE(Read().value().notes.empty());
  EXPECT_EQ(Read().value().notes[0], "not every kill was followed by a change of the world");
}

TEST_F(Report, WhatOnlyOthersRecordedElsewhereIsNotCalledLost) {
  Write();
  // As on the host where only member 0's second process ran.
  for (int process : {0, 1, 2}) {
    ASSERT_TRUE(files_.Remove(WorkerEventsPath(folder_, SyntheticProcess(process))).ok());
    ASSERT_TRUE(files_.Remove(LedgerPath(folder_, SyntheticProcess(process))).ok());
  }
  RunReport report = Read().value();
  EXPECT_EQ(report.members_elsewhere, (std::vector<MemberId>{1, 2}));
  EXPECT_FALSE(report.Sound());
  const std::string verdict = Verdict(report);
  EXPECT_NE(verdict.find("2 others have theirs elsewhere."), std::string::npos) << verdict;
  EXPECT_NE(verdict.find("16 samples aren't in these records."), std::string::npos) << verdict;
  EXPECT_EQ(verdict.find(" lost"), std::string::npos) << verdict;
}

TEST_F(Report, AKillThatEndedTheRunIsNoRunThatLostNobody) {
  Write();
  // Rank 0 was the only worker.
  for (int process : {1, 2, 3}) {
    ASSERT_TRUE(files_.Remove(WorkerEventsPath(folder_, SyntheticProcess(process))).ok());
    ASSERT_TRUE(files_.Remove(LedgerPath(folder_, SyntheticProcess(process))).ok());
  }
  Edit(0, R"("size":3,"spares":0,"members":[0,1,2])", R"("size":1,"spares":0,"members":[0])");
  RunReport report = Read().value();
  EXPECT_TRUE(report.recoveries.empty());
  EXPECT_EQ(Verdict(report),
            "Rank 0 was killed in step 4 and the run did not go on. 16 samples are missing. No "
            "worker reached the end. Only 3 of 6 steps were done.");
  auto kills = nlohmann::json::parse(ReportJson(report))["unanswered_kills"];
  ASSERT_EQ(kills.size(), 1u);
  EXPECT_EQ(kills.at(0)["rank"], 0);
  EXPECT_EQ(kills.at(0)["member"], 0);
  EXPECT_EQ(kills.at(0)["step"], 4);
  EXPECT_EQ(kills.at(0)["at_seconds"], 0.35);
  EXPECT_EQ(kills.at(0)["run_went_on"], false);
}

TEST_F(Report, AKillWithoutARecoveryInARunThatWentOnIsSaid) {
  Write({.record_exit = false, .record_detection = false});
  for (int process : {1, 2}) {
    Edit(process, R"("lost":[0],"lost_members":[0])", R"("lost":[],"lost_members":[])");
  }
  EXPECT_EQ(
      Verdict(Read().value()).find("Rank 0 was killed in step 4; no recovery followed. A new"), 0u);
}

TEST_F(Report, NobodyIsLostOnlyWhenNoWorkerDiedWhileTheRunTrained) {
  Write({.record_kill = false, .record_exit = false, .record_detection = false});
  EXPECT_EQ(Verdict(Read().value()).find("3 workers trained 6 steps and lost nobody."), 0u);
  constexpr std::string_view kEnd = R"({"t":1800000000,"event":"end")";
  auto add_exit = [&](const std::string& t, const std::string& how) {
    EditSupervisor(kEnd, R"({"t":)" + t + R"(,"event":"worker_exit","member":1,)" + how +
                             R"(,"ended_for":"","cause":"","t_lost":0,"t_heard":0})" + "\n" +
                             std::string(kEnd));
  };
  // In order, before the training began, and after the job ended.
  add_exit("1650000000", R"("incarnation":"","code":0,"signal":0)");
  add_exit("900000000", R"("incarnation":"","code":1,"signal":0)");
  add_exit("1750000000", R"("incarnation":"","code":-1,"signal":9)");
  EXPECT_EQ(Verdict(Read().value()).find("3 workers trained 6 steps and lost nobody."), 0u);
  add_exit("1550000000", R"("incarnation":"","code":-1,"signal":11)");
  EXPECT_EQ(
      Verdict(Read().value()).find("3 workers trained 6 steps; 1 worker died without a recovery."),
      0u);
}

TEST_F(Report, DifferentWeightsAreNotSound) {
  Write();
  Edit(1, "ab12", "ab13");
  RunReport report = Read().value();
  EXPECT_FALSE(report.weights_agree);
  EXPECT_FALSE(report.Sound());
  EXPECT_NE(Verdict(report).find("different weights"), std::string::npos);
}

TEST_F(Report, WithoutTheLaunchersRecordThereIsStillAReport) {
  Write();
  ASSERT_TRUE(files_.Remove(SupervisorEventsPath(folder_)).ok());
  RunReport report = Read().value();
  EXPECT_EQ(report.recoveries.at(0).timed_from, LossTimedFrom::kDetection);
  EXPECT_DOUBLE_EQ(report.joins.at(0).total_ms.value(), 111);  // from its "start"
  EXPECT_GE(report.notes.size(), 2u);
}

TEST_F(Report, TheCommitOfAGenerationThatWasTornIsReplacedByTheReplay) {
  Write();
  // Rank 0 had applied step 4 alone, with another loss, before it was killed.
  std::string path = WorkerEventsPath(folder_, SyntheticProcess(0));
  std::string text = files_.Read(path).value();
  text += R"({"t":1349000000,"event":"commit","step":4,"epoch":2,"loss":9.0,"gen":1,"size":3,)"
          R"("samples":4})"
          "\n";
  ASSERT_TRUE(files_.Replace(path, text).ok());
  RunReport report = Read().value();
  EXPECT_EQ(report.steps, 6u);
  EXPECT_DOUBLE_EQ(report.loss[3].loss, 0.5);
  EXPECT_DOUBLE_EQ(report.loss[3].at_seconds, 0.4);
}

TEST_F(Report, ATornLastLineIsIgnoredAndTold) {
  Write();
  std::string path = WorkerEventsPath(folder_, SyntheticProcess(0));
  std::string text = files_.Read(path).value();
  text.resize(text.size() - 7);
  ASSERT_TRUE(files_.Replace(path, text).ok());
  RunReport report = Read().value();
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("killed, or the disk was full"), std::string::npos);
}

TEST_F(Report, GarbageIsRefusedWithFileAndLine) {
  for (const char* garbage :
       {"", "x", "{", "[]", "null", "{}", R"({"t":1})", R"({"t":"1","event":"end"})",
        R"({"t":-1,"event":"x"})", R"({"t":9223372036854775807,"event":"x"})",
        R"({"t":1.5,"event":"x"})", R"({"t":1,"event":7})", R"({"t":1,"event":"commit"})",
        R"({"t":1,"event":"metric","name":"x","value":"high"})",
        R"({"t":1,"event":"transfer","gen":-1,"member":0,"bytes":1,"t_begin":1,"t_end":2})",
        R"({"t":1,"event":"transfer","gen":1,"member":4294967296,"bytes":1,"t_begin":1,"t_end":2})",
        "\xff\xfe\x00"}) {
    Write();
    std::string path = WorkerEventsPath(folder_, SyntheticProcess(1));
    EditFile(files_, path, "\n", "\n" + std::string(garbage) + "\n");
    Result<RunReport> report = Read();
    ASSERT_FALSE(report.ok()) << garbage;
    EXPECT_EQ(report.status().code(), StatusCode::kInvalidArgument) << garbage;
    EXPECT_NE(report.status().message().find(path + ":2: "), std::string::npos) << report.status();
  }
}

TEST_F(Report, AnyPrefixOfAFileGivesAReportOrAnErrorAndNeverACrash) {
  Write();
  std::string path = WorkerEventsPath(folder_, SyntheticProcess(2));
  std::string text = files_.Read(path).value();
  for (size_t bytes = 0; bytes <= text.size(); bytes += 13) {
    ASSERT_TRUE(files_.Remove(path).ok());
    auto file = files_.OpenForAppend(path).value();
    ASSERT_TRUE(file->Append(text.substr(0, bytes)).ok());
    Result<RunReport> report = Read();
    if (report.ok()) {
      EXPECT_FALSE(ReportText(*report).empty());
      EXPECT_FALSE(ReportJson(*report).empty());
    }
  }
}

TEST_F(Report, UnknownEventsAndFieldsAreIgnored) {
  Write();
  Edit(1, R"("event":"end",)", R"("event":"end","colour":"blue",)");
  Edit(1, "\n", "\n{\"t\":1,\"event\":\"from a later version\"}\n");
  EXPECT_TRUE(Read().value().Sound());
}

TEST_F(Report, AnEmptyOrMissingFolderIsAnErrorThatNamesIt) {
  EXPECT_NE(Read().status().message().find(folder_), std::string::npos);
  ASSERT_TRUE(files_.MakeFolder(folder_).ok());
  EXPECT_NE(Read().status().message().find(folder_), std::string::npos);
}

TEST_F(Report, ALossThatIsNotANumberIsNullInJson) {
  Write();
  for (int process : {1, 2, 3})
    Edit(process, R"("step":6,"epoch":2,"loss":0.333)",
         R"("step":6,"epoch":2,"loss":null,"x":0.333)");
  auto json = nlohmann::json::parse(ReportJson(Read().value()));
  EXPECT_TRUE(json["final_loss"].is_null());
}

}  // namespace
}  // namespace closeranks::telemetry
