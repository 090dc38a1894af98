// Workers that are told to end: each finishes its step, hands over and goes, and nobody computes
// anything again.
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
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
using testing_job::kLeft;
using testing_job::ReportFolder;
using testing_job::RunFlags;
using testing_job::Undisturbed;
using testing_job::Words;

constexpr double kSamplesOfRun = 240;  // of all epochs

// A job in which these faults make `leavers` of `n` workers leave before the others come to its
// end.
void LeaveAndFinish(const ReportFolder& folder, int n, int leavers, const std::string& faults,
                    const Words& supervisor = {}, Words worker = {}) {
  Barrier end(folder, "end");
  worker.insert(worker.end(), {"--faults=" + faults, "--end_at=" + end.path()});
  JobProcess job(RunFlags(folder, n, supervisor, worker));
  for (int leaver = 0; leaver < leavers; ++leaver) {
    ASSERT_TRUE(job.WaitForOutput("as it was told to"));
  }
  end.Open();
  EXPECT_EQ(job.Wait(), kLeft) << job.output();
  ExpectNoProcessLeft(folder);
  EXPECT_EQ(CountLines(job.output(), "as it was told to"), leavers) << job.output();
  if (testing::Test::HasFailure()) std::fprintf(stderr, "%s\n", job.output().c_str());
}

// And nobody computes a sample again.
void ExpectOrderlyLeaving(int n, int leavers, const std::string& faults, const Words& worker = {}) {
  SCOPED_TRACE(faults);
  ReportFolder folder;
  LeaveAndFinish(folder, n, leavers, faults, {}, worker);
  EXPECT_EQ(ExpectTrained(folder, n - leavers), Undisturbed());
  EXPECT_EQ(testing_job::Computed(folder), kSamplesOfRun);
}

TEST(Leaving, OfEachRankCostsNobodyAStep) {
  for (const char* wire : {"--notcp", "--tcp"}) {
    for (int rank = 0; rank < 3; ++rank) {
      ReportFolder folder;
      LeaveAndFinish(folder, 3, 1, std::to_string(rank) + ":part:term:5", {}, {wire});
      EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
      EXPECT_EQ(testing_job::LastCommit(folder, rank), 5);
      EXPECT_EQ(testing_job::Computed(folder), kSamplesOfRun);
      EXPECT_EQ(testing_job::Worlds(folder), 2);
    }
  }
}

TEST(Leaving, AtEveryPointOfAStepTakesNoMoreThanTheNext) {
  for (const char* point : {"part", "apply", "commit"}) {
    ReportFolder folder;
    LeaveAndFinish(folder, 3, 1, std::string("1:") + point + ":term:5");
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
    EXPECT_LE(testing_job::LastCommit(folder, 1), 6);
    EXPECT_EQ(testing_job::Computed(folder), kSamplesOfRun);
  }
}

// 100 of 100, five in each job.
TEST(Leaving, DrainsHoweverOftenItIsAsked) {
  const std::vector<std::string> points = {"part", "apply", "commit"};
  for (int job = 0; job < 20; ++job) {
    std::string faults;
    for (int leaver = 0; leaver < 5; ++leaver) {
      const int member = (job + leaver) % 6;
      // Some one after the other, some in the same step.
      const int step = 1 + job % 7 + leaver * (job % 3);
      faults += (leaver == 0 ? "" : ",") + std::to_string(member) + ":" +
                points[(job + leaver) % points.size()] + ":term:" + std::to_string(step);
    }
    ExpectOrderlyLeaving(6, 5, faults, {job % 2 == 0 ? "--tcp" : "--notcp"});
  }
}

TEST(Leaving, OfSeveralAtOnce) {
  ExpectOrderlyLeaving(4, 2, "0:part:term:5,1:part:term:5");
  ExpectOrderlyLeaving(4, 3, "0:part:term:5,2:apply:term:5,3:commit:term:5");
}

TEST(Leaving, InExactModeGivesTheSameBits) {
  ReportFolder whole;
  JobProcess job(RunFlags(whole, 4, {}, {"--shards=12"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  const std::string undisturbed = ExpectTrained(whole, 4);
  for (const auto& [leavers, faults] :
       {std::pair(1, "0:part:term:5"), std::pair(2, "1:part:term:3,2:part:term:8")}) {
    ReportFolder folder;
    LeaveAndFinish(folder, 4, leavers, faults, {}, {"--shards=12"});
    EXPECT_EQ(ExpectTrained(folder, 4 - leavers), undisturbed) << faults;
  }
}

TEST(Leaving, DuringARecovery) {
  for (const char* point : {"2:world:term:2", "1:world:term:2"}) {
    ReportFolder folder;
    LeaveAndFinish(folder, 4, 1, std::string("0:part:kill:5,") + point, {"--restart_delay=3600"});
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
  }
}

// The source of the joiner's state, the joiner itself, and the only one that has the state.
TEST(Leaving, DuringAJoin) {
  for (const char* fault : {"1:save:term:0", "0:world:term:3", "2:world:term:3"}) {
    SCOPED_TRACE(fault);
    ReportFolder folder;
    LeaveAndFinish(folder, 3, 1, std::string("0:part:kill:5,") + fault, {},
                   {"--hold_step=9", "--hold_size=3"});
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
  }
}

TEST(Leaving, WhoAloneHasTheStateWaitsForASuccessor) {
  ReportFolder folder;
  LeaveAndFinish(folder, 2, 1, "0:part:kill:5,1:part:term:6", {"--restart_delay=0.1"});
  EXPECT_EQ(ExpectTrained(folder, 1), Undisturbed());
  EXPECT_EQ(testing_job::LastCommit(folder, 0), 20);
}

TEST(Leaving, BeforeTheStartEndsTheStart) {
  for (const char* fault : {"1:start:term:0", "1:join:term:0", "0:ready:term:0"}) {
    SCOPED_TRACE(fault);
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 3, {}, {std::string("--faults=") + fault}));
    EXPECT_EQ(job.Wait(), kLeft) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

// Whatever its program still does: the grace period is longer than the test's patience.
TEST(Leaving, WhoHasntAskedToBeLetInGoesAtOnce) {
  for (int signal : {SIGTERM, SIGINT}) {
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 3, {"--grace=3600"}, {"--faults=1:join:hang:0"}));
    ASSERT_TRUE(job.WaitForOutput("hangs"));
    job.Signal(signal);
    EXPECT_EQ(job.Wait(), kLeft) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(Leaving, TheLastOneEndsTheJob) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 1, {}, {"--faults=0:part:term:5"}));
  EXPECT_EQ(job.Wait(), kLeft) << job.output();
  EXPECT_EQ(testing_job::LastCommit(folder, 0), 5) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(Leaving, ASignalFromOutsideIsAsGood) {
#ifdef __SANITIZE_THREAD__
  // It keeps signals until a thread calls into the system, and the one that gets this is in a call.
  GTEST_SKIP() << "tsan doesn't deliver a signal to a thread that waits in open()";
#endif
  for (int signal : {SIGTERM, SIGINT}) {
    ReportFolder folder;
    Barrier barrier(folder);
    Barrier end(folder, "end");
    JobProcess job(
        RunFlags(folder, 3, {},
                 {"--pause_step=7", "--pause_at=" + barrier.path(), "--end_at=" + end.path()}));
    for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
    kill(testing_job::WorkerPid(folder, 2), signal);
    ASSERT_TRUE(job.WaitForOutput("told to leave"));
    barrier.Open();
    ASSERT_TRUE(job.WaitForOutput("as it was told to"));
    end.Open();
    EXPECT_EQ(job.Wait(), kLeft) << job.output();
    EXPECT_EQ(testing_job::LastCommit(folder, 2), 7) << job.output();
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << job.output();
    EXPECT_EQ(testing_job::Computed(folder), kSamplesOfRun) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(Leaving, ASecondSignalEndsAWorkerThatHangsAndNoneTakesItsPlace) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {}, {"--faults=1:part:hang:5"}));
  ASSERT_TRUE(job.WaitForOutput("hangs"));
  kill(testing_job::WorkerPid(folder, 1), SIGTERM);
  ASSERT_TRUE(job.WaitForOutput("told to leave"));
  kill(testing_job::WorkerPid(folder, 1), SIGTERM);
  EXPECT_EQ(job.Wait(), kLeft) << job.output();
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << job.output();
  EXPECT_EQ(CountLines(job.output(), "restart"), 0) << job.output();
  ExpectNoProcessLeft(folder);
}

using Jobs = std::vector<std::unique_ptr<JobProcess>>;

// As who sends it to a whole group does, and who waits for the end impatiently.
TEST(Leaving, HoweverOftenAHostIsToldToEndItEndsWithItsCodeAndWholeRecords) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 2, {"--grace=0.2"}, {"--faults=0:part:hang:5"}));
  ASSERT_TRUE(job.WaitForOutput("hangs"));
  siginfo_t ended{};
  while (ended.si_pid == 0) {
    job.Signal(SIGTERM);
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(job.pid()), &ended, WEXITED | WNOHANG | WNOWAIT), 0);
  }
  EXPECT_EQ(job.Wait(), kLeft) << job.output();
  EXPECT_TRUE(testing_job::HasEnded(folder)) << "its last record is missing";
  ExpectNoProcessLeft(folder);
}

TEST(Leaving, AHostThatIsToldToEndHandsOver) {
  for (int leaver = 0; leaver < 3; ++leaver) {
    ReportFolder folder;
    Hosts hosts(folder, 3, 2);
    Barrier barrier(folder), end(folder, "end");
    Jobs jobs;
    for (int host = 0; host < 3; ++host) {
      jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(
          host, {}, {"--pause_step=7", "--pause_at=" + barrier.path(), "--end_at=" + end.path()})));
    }
    for (auto& job : jobs) {
      for (int worker = 0; worker < 2; ++worker) ASSERT_TRUE(job->WaitForOutput("pauses"));
    }
    jobs[leaver]->Signal(SIGTERM);
    for (int worker = 0; worker < 2; ++worker) {
      ASSERT_TRUE(jobs[leaver]->WaitForOutput("told to leave"));
    }
    barrier.Open();
    EXPECT_EQ(jobs[leaver]->Wait(), kLeft) << jobs[leaver]->output();
    end.Open();
    for (int host = 0; host < 3; ++host) {
      EXPECT_EQ(jobs[host]->Wait(), host == leaver ? kLeft : 0) << jobs[host]->output();
    }
    for (int worker = 0; worker < 2; ++worker) {
      EXPECT_EQ(testing_job::LastCommit(folder, leaver * 2 + worker), 7);
    }
    EXPECT_EQ(testing_job::Computed(folder), kSamplesOfRun);
    EXPECT_EQ(ExpectTrained(folder, 4), Undisturbed());
    ExpectNoProcessLeft(folder, 3);
  }
}

// Host 1 alone has no quorum of the two.
TEST(Leaving, AHostWhoseNewWorkerIsNotInYetTakesNoVoteWithIt) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  Barrier barrier(folder);
  const std::string has_struck = folder.Write("fault.0", "");
  Jobs jobs;
  for (int host = 0; host < 2; ++host) {
    jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(
        host, {"--grace=3600"},
        {"--faults=0:start:hang:0", "--pause_step=7", "--pause_at=" + barrier.path()})));
  }
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  std::filesystem::remove(has_struck);
  kill(testing_job::WorkerPid(folder, 0), SIGKILL);
  ASSERT_TRUE(jobs[0]->WaitForOutput("hangs"));
  jobs[0]->Signal(SIGTERM);
  // However long the worker takes to end.
  ASSERT_TRUE(jobs[0]->WaitForOutput("member 0 has left the job"));
  jobs[0]->Signal(SIGINT);
  EXPECT_EQ(jobs[0]->Wait(), kLeft) << jobs[0]->output();
  barrier.Open();
  EXPECT_EQ(jobs[1]->Wait(), 0) << jobs[1]->output();
  EXPECT_EQ(ExpectTrained(folder, 1), Undisturbed());
  ExpectNoProcessLeft(folder, 2);
}

TEST(Leaving, AStepThatIsLongerThanTheGracePeriodIsLeftToTheOthers) {
  for (int leaver : {0, 1}) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 1);
    Barrier never(folder, "never");
    Jobs jobs;
    for (int host = 0; host < 2; ++host) {
      Words worker;
      if (host == leaver) worker = {"--pause_step=7", "--pause_at=" + never.path()};
      jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(host, {"--grace=1"}, worker)));
    }
    ASSERT_TRUE(jobs[leaver]->WaitForOutput("pauses"));
    jobs[leaver]->Signal(SIGTERM);
    EXPECT_EQ(jobs[leaver]->Wait(), kLeft) << jobs[leaver]->output();
    EXPECT_EQ(CountLines(jobs[leaver]->output(), "in the middle of a step"), 1);
    EXPECT_EQ(jobs[1 - leaver]->Wait(), 0) << jobs[1 - leaver]->output();
    EXPECT_EQ(ExpectTrained(folder, 1), Undisturbed());
    ExpectNoProcessLeft(folder, 2);
  }
}

}  // namespace
}  // namespace closeranks
