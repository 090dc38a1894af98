// Whole jobs of real processes: whatever is killed, stopped or restarted on the way, every sample
// counts once and the result is that of an undisturbed run.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "launcher/descriptor_budget.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::CountLines;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectTrained;
using testing_job::JobProcess;
using testing_job::kError;
using testing_job::kLeft;
using testing_job::kNoResources;
using testing_job::kQuorumLost;
using testing_job::kUsage;
using testing_job::ReportFolder;
using testing_job::RunFlags;
using testing_job::Undisturbed;
using testing_job::Words;

// Runs a job to its good end and gives the hash of its weights.
std::string Train(int n, const Words& supervisor, const Words& worker, int at_end = -1) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, n, supervisor, worker));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  ExpectNoProcessLeft(folder);
  std::string hash = ExpectTrained(folder, at_end);
  if (testing::Test::HasFailure()) std::fprintf(stderr, "%s\n", job.output().c_str());
  return hash;
}

// The same, where the launcher kills `ranks` in step 7.
std::string TrainAndKill(int n, const std::string& ranks, Words worker = {}) {
  ReportFolder folder;
  // Steps of the toy may be over before the supervisor comes to run: this one waits for it.
  testing_job::Barrier barrier(folder);
  worker.insert(worker.end(), {"--pause_step=7", "--pause_at=" + barrier.path()});
  JobProcess job(RunFlags(folder, n, {"--kill=" + ranks + "@7"}, worker));
  EXPECT_TRUE(job.WaitForOutput(") in step 7"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  ExpectNoProcessLeft(folder);
  return ExpectTrained(folder);
}

TEST(ElasticJob, TheResultDoesntDependOnTheNumberOfRanks) {
  EXPECT_EQ(Train(2, {}, {}, 2), Undisturbed());
  EXPECT_EQ(Train(4, {}, {}, 4), Undisturbed());
  EXPECT_EQ(Train(4, {}, {"--tcp"}, 4), Undisturbed());
}

TEST(ElasticJob, EachRankMayBeKilled) {
  for (int rank = 0; rank < 4; ++rank) {
    SCOPED_TRACE(rank);
    EXPECT_EQ(TrainAndKill(4, std::to_string(rank)), Undisturbed());
  }
}

TEST(ElasticJob, TwoRanksMayBeKilledAtOnce) {
  EXPECT_EQ(TrainAndKill(4, "0,1"), Undisturbed());
  EXPECT_EQ(TrainAndKill(4, "2,3"), Undisturbed());
  EXPECT_EQ(TrainAndKill(4, "2,3", {"--tcp"}), Undisturbed());
}

TEST(ElasticJob, OfTwoRanksEitherMayBeKilled) {
  EXPECT_EQ(TrainAndKill(2, "0"), Undisturbed());
  EXPECT_EQ(TrainAndKill(2, "1"), Undisturbed());
}

TEST(ElasticJob, AKillThatNeverCameIsAnError) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 2, {"--kill=1@5000"}, {}));
  EXPECT_EQ(job.Wait(), kUsage) << job.output();
  EXPECT_EQ(CountLines(job.output(),
                       "--kill=1@5000: 0 of 1 ranks were killed, and the run ended "
                       "after step 20; name a step"),
            1)
      << job.output();
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
}

TEST(ElasticJob, ASuccessorReceivesTheStateAndComesToTheEnd) {
  for (const char* wire : {"--notcp", "--tcp"}) {
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 4, {},
                            {wire, "--faults=0:part:kill:5", "--hold_step=9", "--hold_size=4"}));
    EXPECT_EQ(job.Wait(), 0) << job.output();
    ExpectNoProcessLeft(folder);
    EXPECT_EQ(ExpectTrained(folder, 4), Undisturbed()) << job.output();
    // Three at the start, from rank 0's initial state; then one.
    EXPECT_EQ(testing_job::Transfers(folder), 4) << job.output();
  }
}

TEST(ElasticJob, KilledAtEveryPointOfAStep) {
  for (const char* fault : {"1:part:kill:5", "1:apply:kill:5", "1:commit:kill:5", "0:apply:kill:1",
                            "3:apply:kill:20", "2:commit:kill:20", "0:part:kill:1"}) {
    SCOPED_TRACE(fault);
    EXPECT_EQ(Train(4, {}, {std::string("--faults=") + fault}), Undisturbed());
  }
}

TEST(ElasticJob, KilledBeforeAndWhileItComesIn) {
  for (const char* fault :
       {"2:start:kill:0", "2:join:kill:0", "2:world:kill:1", "0:save:kill:0", "3:load:kill:0"}) {
    SCOPED_TRACE(fault);
    EXPECT_EQ(Train(4, {}, {std::string("--faults=") + fault}), Undisturbed());
  }
}

TEST(ElasticJob, KilledDuringAJoin) {
  for (const char* then : {"0:load:kill:0", "1:save:kill:0", "2:world:kill:3"}) {
    SCOPED_TRACE(then);
    // What strikes at the start would not wait for the join.
    std::string faults = std::string("--faults=0:part:kill:5,") + then;
    EXPECT_EQ(Train(4, {}, {faults, "--hold_step=9", "--hold_size=4"}), Undisturbed());
  }
}

TEST(ElasticJob, KilledOneAfterTheOther) {
  EXPECT_EQ(Train(4, {}, {"--faults=0:part:kill:5,1:world:kill:2"}), Undisturbed());
  EXPECT_EQ(Train(4, {}, {"--faults=0:part:kill:5,1:part:kill:6,2:apply:kill:7"}), Undisturbed());
  EXPECT_EQ(Train(3, {},
                  {"--faults=2:apply:kill:5,0:world:kill:2,1:commit:kill:9", "--hold_step=8",
                   "--hold_size=3"}),
            Undisturbed());
}

TEST(ElasticJob, ExactModeGivesTheSameBitsWhateverHappens) {
  const Words exact = {"--shards=12"};
  const std::string hash = Train(4, {}, exact, 4);
  EXPECT_EQ(Train(3, {}, exact, 3), hash);
  EXPECT_EQ(Train(1, {}, exact, 1), hash);
  EXPECT_EQ(TrainAndKill(4, "0", exact), hash);
  EXPECT_EQ(TrainAndKill(4, "2,3", exact), hash);
  EXPECT_EQ(Train(4, {}, {"--shards=12", "--tcp", "--faults=1:apply:kill:5,2:world:kill:2"}), hash);
  EXPECT_NE(Train(4, {}, {"--shards=12", "--seed=2"}), hash);
}

TEST(ElasticJob, ACrashLoopEndsWithItsCodeAndTheOthersFinish) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(RunFlags(
      folder, 4, {"--max_restarts=2"},
      {"--faults=1:part:kill:5,1:join:exit:0", "--pause_step=9", "--pause_at=" + barrier.path()}));
  ASSERT_TRUE(job.WaitForOutput("(--max-restarts)"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), 7) << job.output();
  ExpectNoProcessLeft(folder);
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed()) << job.output();
}

TEST(ElasticJob, LosingTheLastWorkerWithTheStateIsToldAtOnce) {
  for (const auto& [n, kill] : {std::pair{1, "--kill=0@7"}, std::pair{3, "--kill=0,1,2@7"}}) {
    ReportFolder folder;
    testing_job::Barrier never(folder);
    // It would be told in the end in any case; not before this test gives up.
    JobProcess job(RunFlags(folder, n, {kill, "--quorum_timeout=3600"},
                            {"--pause_step=7", "--pause_at=" + never.path()}));
    EXPECT_EQ(job.Wait(), kQuorumLost) << job.output();
    EXPECT_EQ(CountLines(job.output(), "start the job again"), 1) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(ElasticJob, AProgramThatIsGoneAtARestartIsNamedAndTheOthersFinish) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  Words flags = RunFlags(folder, 3, {}, {"--pause_step=5", "--pause_at=" + barrier.path()});
  std::string& program = *(std::find(flags.begin(), flags.end(), "--") + 1);
  const std::string alias = folder.path() + "/program";
  std::filesystem::create_symlink(std::filesystem::absolute(program), alias);
  program = alias;
  JobProcess job(flags);
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  std::filesystem::remove(alias);
  kill(testing_job::WorkerPid(folder, 2), SIGKILL);
  ASSERT_TRUE(job.WaitForOutput("can't run '" + alias + "'"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), kUsage) << job.output();
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, AWorkerThatEndsEarlyIsAnErrorAndTheOthersFinish) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {}, {"--faults=1:part:finish:5"}));
  EXPECT_EQ(job.Wait(), kError) << job.output();
  EXPECT_EQ(CountLines(job.output(), "exit code 0 before the job's end"), 1) << job.output();
  ExpectNoProcessLeft(folder);
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << job.output();
}

TEST(ElasticJob, WhoCantWriteItsRecordEndsWithItsCodeAndTheOthersFinish) {
  for (const char* wire : {"--notcp", "--tcp"}) {
    for (const char* full : {"0", "2", "0,1", "1,2"}) {
      SCOPED_TRACE(std::string(wire) + " " + full);
      const int ended = std::string(full).size() > 1 ? 2 : 1;
      ReportFolder folder;
      testing_job::Barrier barrier(folder);
      JobProcess job(RunFlags(folder, 3, {},
                              {wire, std::string("--full_disk=") + full, "--pause_step=9",
                               "--pause_at=" + barrier.path()}));
      for (int i = 0; i < ended; ++i) ASSERT_TRUE(job.WaitForOutput("exited with code 86"));
      barrier.Open();
      EXPECT_EQ(job.Wait(), kNoResources) << job.output();
      EXPECT_EQ(CountLines(job.output(), "] E "), ended) << job.output();
      ExpectNoProcessLeft(folder);
      EXPECT_EQ(ExpectTrained(folder, 3 - ended), Undisturbed()) << job.output();
    }
  }
}

TEST(ElasticJob, ADiskThatIsFullForAllEndsTheRunAtOnce) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--full_disk=0,1,2,3"}));
  EXPECT_EQ(job.Wait(), kNoResources) << job.output();
  EXPECT_EQ(CountLines(job.output(), "] E "), 4) << job.output();
  // The supervisor's lines, all with that code: who is still there is told of the others too.
  EXPECT_EQ(CountLines(job.output(), "op=- the worker of member "), 4) << job.output();
  for (int member = 0; member < 4; ++member) {
    EXPECT_EQ(CountLines(job.output(), "op=- the worker of member " + std::to_string(member) +
                                           " exited with code 86"),
              1)
        << job.output();
  }
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, AWorkerThatEndsEarlyIsAnErrorHoweverLongItTakes) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(
      RunFlags(folder, 3, {}, {"--faults=1:part:finish:5", "--linger_at=" + barrier.path()}));
  // The others come to the job's end before it is gone.
  for (int worker = 0; worker < 2; ++worker) ASSERT_TRUE(job.WaitForOutput("trained to"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), kError) << job.output();
  EXPECT_EQ(CountLines(job.output(), "exit code 0 before the job's end"), 1) << job.output();
  EXPECT_EQ(CountLines(job.output(), "ending the worker"), 0) << job.output();
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, AWorkerThatQuitsWithoutAWordIsAnErrorWhateverIsSeenOfItFirst) {
  for (bool at_once : {false, true}) {
    ReportFolder folder;
    testing_job::Barrier barrier(folder);
    JobProcess job(
        RunFlags(folder, 3, {},
                 {"--faults=1:part:quit:5", "--pause_step=5", "--pause_at=" + barrier.path()}));
    if (at_once) {
      // What it sent, the closed connections and its exit status wait for the supervisor together.
      for (int worker = 0; worker < 2; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
      job.Signal(SIGSTOP);
      EXPECT_TRUE(testing_job::WaitUntilDead(testing_job::WorkerPid(folder, 1)));
      job.Signal(SIGCONT);
    }
    barrier.Open();
    EXPECT_EQ(job.Wait(), kError) << job.output();
    EXPECT_EQ(CountLines(job.output(), "exit code 0 before the job's end"), 1) << job.output();
    EXPECT_EQ(CountLines(job.output(), "ending the worker"), 0) << job.output();
    EXPECT_EQ(CountLines(job.output(), "killed by"), 0) << job.output();
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(ElasticJob, AStoppedWorkerIsEndedAndTheOthersGoOn) {
  EXPECT_EQ(Train(4, {}, {"--faults=2:part:stop:5"}), Undisturbed());
}

TEST(ElasticJob, WhyAndSinceWhenAWorkerWasEndedIsOnRecord) {
  ReportFolder folder;
  JobProcess job(RunFlags(
      folder, 3, {}, {"--faults=0:part:stop:5,1:part:kill:9", "--hold_step=12", "--hold_size=3"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  // By member: who was lost first may be the last to be gone.
  auto exits = testing_job::Exits(folder);
  std::stable_sort(exits.begin(), exits.end(),
                   [](const auto& a, const auto& b) { return a.event.member < b.event.member; });
  ASSERT_GE(exits.size(), 5u);
  const auto &silent = exits[0], &killed = exits[2];  // each before its successor's good end
  EXPECT_EQ(silent.event.ended_for, "it is stopped, and wasn't heard for 150 ms");
  EXPECT_GT(silent.event.t_heard, TimePoint{});
  EXPECT_GE(silent.event.t_lost - silent.event.t_heard, std::chrono::milliseconds(150));
  EXPECT_LE(silent.event.t_lost, silent.t);
  EXPECT_EQ(killed.event.member, 1);
  EXPECT_EQ(killed.event.ended_for, "");
  EXPECT_EQ(killed.event.t_heard, TimePoint{});
  EXPECT_GT(killed.event.t_lost, silent.event.t_lost);
  EXPECT_LE(killed.event.t_lost, killed.t);
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, EveryRanksLogSaysWhoWasLostAndWhy) {
  const std::pair<const char*, const char*> faults[] = {
      {"kill", "its worker was killed by signal 9 (Killed) in step 5"},
      {"segv", "its worker was killed by signal 11 (Segmentation fault) in step 5"},
      {"check", "its worker was killed by signal 6 (Aborted) in step 5: F "},
      {"throw", "its worker threw a bad sample in step 5"},
      {"alloc", "its worker threw std::bad_alloc in step 5"}};
  for (const auto& [action, text] : faults) {
    SCOPED_TRACE(action);
    ReportFolder folder;
    testing_job::Barrier barrier(folder), linger(folder, "linger");
    JobProcess job(RunFlags(folder, 4, {},
                            {std::string("--faults=1:part:") + action + ":5", "--pause_step=9",
                             "--pause_at=" + barrier.path(), "--linger_at=" + linger.path()}));
    // The one that threw isn't even gone by then.
    for (int rank = 0; rank < 3; ++rank) ASSERT_TRUE(job.WaitForOutput(text));
    linger.Open();
    barrier.Open();
    EXPECT_EQ(job.Wait(), 0) << job.output();
    for (const char* rank : {"[0] W ", "[2] W ", "[3] W "}) {
      EXPECT_EQ(CountLines(job.output(), rank), 1) << job.output();
    }
    // The one that lingered may be gone after others that are through.
    const auto exits = testing_job::Exits(folder);
    const auto lost = std::find_if(exits.begin(), exits.end(),
                                   [](const auto& exit) { return exit.event.member == 1; });
    ASSERT_NE(lost, exits.end());
    EXPECT_EQ("its worker " + lost->event.cause.substr(0, std::string(text).size() - 11),
              std::string(text));
    EXPECT_EQ(ExpectTrained(folder), Undisturbed()) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(ElasticJob, AStoppedSupervisorEndsNobodyWhenItGoesOn) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 3, {"--worker_timeout=2"},
                          {"--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  job.Signal(SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(3));
  job.Signal(SIGCONT);
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "ending the worker"), 0) << job.output();
  EXPECT_EQ(testing_job::Worlds(folder), 1) << job.output();
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed()) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, ASupervisorThatStaysStoppedHangsNoWorker) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 3, {},
                          {"--agent_timeout=1", "--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  job.Signal(SIGSTOP);
  barrier.Open();
  for (int member = 0; member < 3; ++member) {
    EXPECT_TRUE(testing_job::WaitUntilDead(testing_job::WorkerPid(folder, member)));
  }
  job.Signal(SIGCONT);
  EXPECT_NE(job.Wait(), 0) << job.output();
  EXPECT_GE(CountLines(job.output(), "the supervisor (process " + std::to_string(job.pid()) + ")"),
            3)
      << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, WhoIsLostOnceTheEndIsAgreedOnCostsNothing) {
  EXPECT_EQ(Train(3, {}, {"--faults=1:end:kill:0"}), Undisturbed());
  EXPECT_EQ(Train(3, {}, {"--faults=2:end:stop:0"}), Undisturbed());
}

TEST(ElasticJob, ACheckpointSignalIsForTheWorkersThatHandleIt) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 3, {},
                          {"--tells_signals=1", "--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  job.Signal(SIGUSR1);
  ASSERT_TRUE(job.WaitForOutput("[1] got SIGUSR1"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "SIGUSR1 isn't passed on to member"), 2) << job.output();
  EXPECT_EQ(CountLines(job.output(), "if it is given --checkpoint-folder"), 2) << job.output();
  EXPECT_EQ(testing_job::Worlds(folder), 1) << job.output();
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed()) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, GoesOnWhenNobodyReadsItsOutput) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(
      RunFlags(folder, 3, {"--progress"}, {"--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  job.StopReading();
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0);
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed());
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, GoesOnWhileWhoReadsItsOutputStandsStill) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 3, {"--progress"},
                          {"--chatter=20", "--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  // From here on nothing is read before the workers have come to their end.
  barrier.Open();
  for (int member = 0; member < 3; ++member) {
    EXPECT_TRUE(testing_job::WaitUntilDead(testing_job::WorkerPid(folder, member)));
  }
  EXPECT_EQ(job.Wait(), 0);
  EXPECT_EQ(CountLines(job.output(), "trained to"), 3);
  EXPECT_EQ(CountLines(job.output(), "xxxxxxxxxx"), 3 * 20 * 20);
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed());
  ExpectNoProcessLeft(folder);
}

// The others vote it out, come to the end and wait for nobody.
TEST(ElasticJob, AWorkerThatHangsDoesntHoldUpTheEnd) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {"--grace=0.5"}, {"--faults=1:part:hang:5", "--timeout=1"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_GE(CountLines(job.output(), "trained to "), 1) << job.output();
  EXPECT_EQ(CountLines(job.output(), "is lost: flight records"), 0) << "no supervisor was";
  ExpectNoProcessLeft(folder);
}

TEST(ElasticJob, TerminatingTheSupervisorEndsEverything) {
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    ReportFolder folder;
    // One of the workers doesn't even finish its step.
    JobProcess job(RunFlags(folder, 3, {"--progress", "--grace=0.2"}, {"--faults=0:part:hang:5"}));
    ASSERT_TRUE(job.WaitForOutput("epoch"));
    job.Signal(signal);
    EXPECT_EQ(job.Wait(), kLeft) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

// A parent that ignores SIGCHLD hands that on.
TEST(ElasticJob, WhoIsStartedWithIgnoredSignalsNoticesTheEndOfItsWorkersAllTheSame) {
  ReportFolder folder;
  const auto before = signal(SIGCHLD, SIG_IGN);
  JobProcess job(
      RunFlags(folder, 3, {}, {"--faults=1:part:kill:5", "--hold_step=9", "--hold_size=3"}));
  signal(SIGCHLD, before);
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed()) << job.output();
  EXPECT_EQ(CountLines(job.output(), "the worker of member 1 was killed by signal 9"), 1)
      << job.output();
  ExpectNoProcessLeft(folder);
}

// The descriptors that the supervisor has open while this many workers train.
size_t OpenFilesWith(int workers) {
  ReportFolder folder;
  testing_job::Barrier barrier(folder);
  JobProcess job(RunFlags(folder, workers, {}, {"--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < workers; ++worker) EXPECT_TRUE(job.WaitForOutput("pauses"));
  std::filesystem::directory_iterator files("/proc/" + std::to_string(job.pid()) + "/fd");
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

TEST(ElasticJob, WhatIsSetAsideForAWorkerIsWhatItTakes) {
  const auto left = [](size_t workers) {
    return launcher::DescriptorsForStrangers(300, 0, workers, 0).value();
  };
  EXPECT_EQ(OpenFilesWith(5) - OpenFilesWith(2), left(2) - left(5));
}

TEST(ElasticJob, WorkersDieWithTheirSupervisor) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {"--progress"}, {"--faults=0:part:hang:5"}));
  ASSERT_TRUE(job.WaitForOutput("epoch"));
  job.Signal(SIGKILL);
  EXPECT_EQ(job.Wait(), -SIGKILL);
  ExpectNoProcessLeft(folder);
}

}  // namespace
}  // namespace closeranks
