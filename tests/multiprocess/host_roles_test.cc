// What hosts are there for: to start the job, to come in later, to stand by, or only to vote. And
// what a job does that has too few of them.
#include <signal.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::Barrier;
using testing_job::CountLines;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectTrained;
using testing_job::Hosts;
using testing_job::JobProcess;
using testing_job::kJoinTimeout;
using testing_job::kLeft;
using testing_job::kQuorumLost;
using testing_job::kUsage;
using testing_job::LastCommit;
using testing_job::ReportFolder;
using testing_job::Transfers;
using testing_job::Undisturbed;
using testing_job::Words;
using testing_job::WorkerPid;
using testing_job::WorldsOf;

// The hosts of a job, each with one worker, of which some are started.
class HostRoles : public testing::Test {
 protected:
  void Start(int host, const Words& supervisor, const Words& worker) {
    jobs_.resize(3);
    jobs_[host] = std::make_unique<JobProcess>(hosts_.Flags(host, supervisor, worker));
  }
  void StartWitness(Words flags) {
    jobs_.resize(3);
    flags.emplace_back("--witness");
    Words all = hosts_.Flags(2, flags, {});
    all.erase(std::find(all.begin(), all.end(), "--"), all.end());
    jobs_[2] = std::make_unique<JobProcess>(all);
  }
  Words PausesInStep(int step) const {
    return {"--tcp", "--pause_step=" + std::to_string(step), "--pause_at=" + barrier_.path()};
  }
  // And whoever has the state waits in a later step for a world of that many: it would else finish
  // the job before others are in.
  Words PausesAndLaterWaitsFor(int size) const {
    Words worker = PausesInStep(5);
    worker.insert(worker.end(), {"--hold_step=9", "--hold_size=" + std::to_string(size)});
    return worker;
  }
  void Lose(int host) {
    jobs_[host]->Signal(SIGKILL);
    EXPECT_EQ(jobs_[host]->Wait(), -SIGKILL);
  }
  void ExpectGoodEnd(int host) {
    EXPECT_EQ(jobs_[host]->Wait(), 0) << "host " << host << ":\n" << jobs_[host]->output();
  }

  ReportFolder folder_;
  Hosts hosts_{folder_, 3, 1};
  Barrier barrier_{folder_};
  std::vector<std::unique_ptr<JobProcess>> jobs_;
};

TEST_F(HostRoles, MinHostsBeginAndOthersUpToMaxComeInLater) {
  const Words worker = PausesAndLaterWaitsFor(3);
  for (int host : {0, 1}) Start(host, {"--nnodes=2:3"}, worker);
  for (int host : {0, 1}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  Start(2, {"--nnodes=2:3"}, worker);
  barrier_.Open();
  for (int host : {0, 1, 2}) ExpectGoodEnd(host);
  EXPECT_EQ(ExpectTrained(folder_, 3), Undisturbed());
  EXPECT_EQ(Transfers(folder_), 2);  // at the start, and when it came in
  ExpectNoProcessLeft(folder_, 3);
}

TEST_F(HostRoles, WithFewerThanMinNothingIsRecordedUntilAnotherComes) {
  for (int host : {0, 1}) Start(host, {"--nnodes=2:3"}, PausesAndLaterWaitsFor(2));
  for (int host : {0, 1}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  Lose(1);
  barrier_.Open();
  // In its supervisor's log and in its worker's.
  ASSERT_TRUE(jobs_[0]->WaitForOutput(
      "holds, and records nothing: 1 host is left, and 2 at least are to be there: start 1 more"));
  ASSERT_TRUE(jobs_[0]->WaitForOutput(
      "holds, and records nothing: 1 host is left, and 2 at least are to be there: start 1 more"));
  EXPECT_EQ(LastCommit(folder_, 0), 4);
  Start(2, {"--nnodes=2:3"}, PausesAndLaterWaitsFor(2));
  ASSERT_TRUE(jobs_[0]->WaitForOutput("the job goes on"));
  for (int host : {0, 2}) ExpectGoodEnd(host);
  EXPECT_EQ(ExpectTrained(folder_, 2), Undisturbed());
  ExpectNoProcessLeft(folder_, 3);
}

TEST_F(HostRoles, WithFewerThanMinForTooLongItEndsAsQuorumLostAndSaysWhatToDo) {
  for (int host : {0, 1}) Start(host, {"--nnodes=2:3", "--quorum_timeout=1"}, PausesInStep(5));
  for (int host : {0, 1}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  Lose(1);
  barrier_.Open();
  EXPECT_EQ(jobs_[0]->Wait(), kQuorumLost) << jobs_[0]->output();
  EXPECT_EQ(CountLines(jobs_[0]->output(),
                       "member 0: quorum lost: 1 host is left, and 2 at least are to be there: "
                       "start 1 more; start the job again"),
            1)
      << jobs_[0]->output();
  EXPECT_EQ(LastCommit(folder_, 0), 4);
  ExpectNoProcessLeft(folder_, 2);
}

TEST_F(HostRoles, WithFewerThanMinAtTheStartItTimesOutAndNamesWhoIsMissing) {
  Start(0, {"--nnodes=2:3", "--join_timeout=1"}, {});
  EXPECT_EQ(jobs_[0]->Wait(), kJoinTimeout) << jobs_[0]->output();
  EXPECT_NE(jobs_[0]->output().find("no link to " + hosts_.address(1) + " (member 1)"),
            std::string::npos)
      << jobs_[0]->output();
}

TEST_F(HostRoles, ASpareTakesTheLostHostsPlaceInTheGenerationThatDropsItWithoutATransfer) {
  Words worker = PausesInStep(6);
  // Until the spare is in.
  worker.insert(worker.end(), {"--hold_step=3", "--hold_size=3"});
  for (int host : {0, 1, 2}) Start(host, {"--nnodes=2", "--spares=1"}, worker);
  // The spare has no part of a step that it could pause in.
  for (int host : {0, 1}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  EXPECT_EQ(CountLines(jobs_[2]->output(), "pauses"), 0);
  Lose(0);
  barrier_.Open();
  for (int host : {1, 2}) ExpectGoodEnd(host);
  EXPECT_EQ(ExpectTrained(folder_, 2), Undisturbed());
  EXPECT_EQ(Transfers(folder_), 2);  // at the start, and when the spare came in
  const auto worlds = WorldsOf(folder_, 1);
  ASSERT_GE(worlds.size(), 3u);
  const auto& before = worlds[worlds.size() - 2];
  EXPECT_EQ(before.members, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(before.spares, 1);
  EXPECT_EQ(worlds.back().members, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(worlds.back().spares, 0);
  EXPECT_EQ(worlds.back().gen, before.gen + 1);
  ExpectNoProcessLeft(folder_, 3);
}

TEST_F(HostRoles, WithAWitnessEitherOfTwoMayBeLost) {
  for (int lost : {0, 1}) {
    SCOPED_TRACE(lost);
    ReportFolder folder;
    Hosts hosts(folder, 3, 1);
    Barrier barrier(folder);
    const Words worker = {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path()};
    std::vector<std::unique_ptr<JobProcess>> jobs;
    for (int host : {0, 1}) {
      jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(host, {"--nnodes=2"}, worker)));
    }
    Words flags = hosts.Flags(2, {"--nnodes=2", "--witness"}, {});
    flags.erase(std::find(flags.begin(), flags.end(), "--"), flags.end());
    JobProcess voter(flags);
    for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
    ASSERT_TRUE(voter.WaitForOutput("member 2 votes, from generation"));
    jobs[lost]->Signal(SIGKILL);
    EXPECT_EQ(jobs[lost]->Wait(), -SIGKILL);
    barrier.Open();
    EXPECT_EQ(jobs[1 - lost]->Wait(), 0) << jobs[1 - lost]->output();
    EXPECT_EQ(voter.Wait(), 0) << voter.output();
    EXPECT_EQ(ExpectTrained(folder, 1), Undisturbed());
    ExpectNoProcessLeft(folder, 2);
  }
}

TEST_F(HostRoles, WithoutAWitnessTheLossOfTheLowerOfTwoHoldsAndSaysSo) {
  Hosts two(folder_, 2, 1);
  std::vector<std::unique_ptr<JobProcess>> jobs;
  for (int host : {0, 1}) {
    jobs.push_back(
        std::make_unique<JobProcess>(two.Flags(host, {"--quorum_timeout=4"}, PausesInStep(5))));
  }
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  jobs[0]->Signal(SIGKILL);
  jobs[0]->Wait();
  barrier_.Open();
  ASSERT_TRUE(jobs[1]->WaitForOutput(
      "the job holds, and records nothing: member 0 is out of reach; a quorum is out of reach: of "
      "3 votes 1 are here, and 2 are needed: bring back whom it lacks"));
  EXPECT_EQ(jobs[1]->Wait(), kQuorumLost) << jobs[1]->output();
  EXPECT_EQ(LastCommit(folder_, 1), 4);
  ExpectNoProcessLeft(folder_, 2);
}

TEST_F(HostRoles, WhatAHoldWaitsForIsSaidAgainWhenItIsSomethingElse) {
  for (int host : {0, 1, 2}) Start(host, {"--nnodes=3:3"}, PausesAndLaterWaitsFor(3));
  for (int host : {0, 1, 2}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  const std::string one = "2 hosts are left, and 3 at least are to be there: start 1 more";
  const std::string two = "1 host is left, and 3 at least are to be there: start 2 more";
  Lose(2);
  barrier_.Open();
  // In each supervisor's log and in each worker's.
  for (int host : {0, 1}) {
    for (int log = 0; log < 2; ++log) ASSERT_TRUE(jobs_[host]->WaitForOutput(one));
  }
  Lose(1);
  for (int log = 0; log < 2; ++log) ASSERT_TRUE(jobs_[0]->WaitForOutput(two));
  for (int host : {1, 2}) Start(host, {"--nnodes=3:3"}, PausesAndLaterWaitsFor(3));
  ASSERT_TRUE(jobs_[0]->WaitForOutput("the job goes on"));
  for (int host : {0, 1, 2}) ExpectGoodEnd(host);
  for (const std::string& said : {one, two}) EXPECT_EQ(CountLines(jobs_[0]->output(), said), 2);
  EXPECT_EQ(ExpectTrained(folder_, 3), Undisturbed());
}

TEST_F(HostRoles, ThatNobodyInReachHasTheStateStandsInEveryRanksLog) {
  for (int host : {0, 1, 2}) Start(host, {"--nnodes=3"}, PausesAndLaterWaitsFor(3));
  for (int host : {0, 1, 2}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  // Only its worker has the state, and it can't say so.
  jobs_[2]->Signal(SIGSTOP);
  // Once both are stopped, neither says what it has when the other dies.
  for (int signal : {SIGSTOP, SIGKILL}) {
    for (int host : {0, 1}) kill(WorkerPid(folder_, host, host), signal);
  }
  barrier_.Open();
  for (int host : {0, 1}) {
    ASSERT_TRUE(jobs_[host]->WaitForOutput(
        "member 0 holds, and records nothing: member 2 is out of reach; none of those who answered "
        "has a worker that holds the job's history: bring back member 2"));
  }
  jobs_[2]->Signal(SIGCONT);
  for (int host : {0, 1, 2}) ExpectGoodEnd(host);
  EXPECT_EQ(ExpectTrained(folder_, 3), Undisturbed());
  ExpectNoProcessLeft(folder_, 3);
}

TEST_F(HostRoles, AWitnessMayBeToldToLeave) {
  for (int host : {0, 1}) Start(host, {"--nnodes=2"}, PausesInStep(5));
  StartWitness({"--nnodes=2"});
  for (int host : {0, 1}) ASSERT_TRUE(jobs_[host]->WaitForOutput("pauses"));
  ASSERT_TRUE(jobs_[2]->WaitForOutput("votes, from generation"));
  jobs_[2]->Signal(SIGTERM);
  EXPECT_EQ(jobs_[2]->Wait(), kLeft) << jobs_[2]->output();
  barrier_.Open();
  for (int host : {0, 1}) ExpectGoodEnd(host);
  EXPECT_EQ(ExpectTrained(folder_, 2), Undisturbed());
  ExpectNoProcessLeft(folder_, 2);
}

TEST_F(HostRoles, WhoHasNoPlaceIsRefusedWithOneErrorThatSaysWhatToDo) {
  struct Case {
    int host;
    Words flags;
    std::string said;
  };
  const Case cases[] = {
      {2, {"--nnodes=1:2"}, "--host-index=2: there is no room for it, as --nnodes=1:2"},
      {0, {"--nnodes=2:1"}, "--nnodes=2:1: expected N or MIN:MAX, such as 2:4"},
      {0, {"--nnodes=0"}, "--nnodes=0: expected N or MIN:MAX"},
      {0, {"--nnodes=2:x"}, "--nnodes=2:x: expected N or MIN:MAX"},
      {0, {"--nnodes=4"}, "are up to 4 hosts, and there are 3"},
      {0, {"--spares=3"}, "--spares=3, but there are 3 hosts: one at least has to train"},
      {0, {"--spares=-1"}, "--spares=-1: expected 0 or more"},
      {1, {"--nnodes=2", "--witness"}, "the witness is the last of --hosts"},
      {2, {"--witness"}, "say with --nnodes on all hosts how many train"},
  };
  for (const Case& refused : cases) {
    Words flags = hosts_.Flags(refused.host, refused.flags, {});
    const bool is_witness = refused.flags.back() == "--witness";
    if (is_witness) flags.erase(std::find(flags.begin(), flags.end(), "--"), flags.end());
    JobProcess job(flags);
    EXPECT_EQ(job.Wait(), kUsage) << refused.said;
    EXPECT_NE(job.output().find(refused.said), std::string::npos) << job.output();
    EXPECT_EQ(CountLines(job.output(), "closeranks run: "), 1) << job.output();
  }
}

}  // namespace
}  // namespace closeranks
