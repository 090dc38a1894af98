// Whatever a rank does or has done, `closeranks explain` names it, what it is about and who waits
// for it.
#include <signal.h>

#include <array>
#include <cstdio>
#include <filesystem>
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
using testing_job::Hosts;
using testing_job::JobProcess;
using testing_job::ReportFolder;
using testing_job::RunFlags;

// What the command says of the supervisors' folders.
std::string Explain(const ReportFolder& folder, int supervisors = 1) {
  std::string command = "cli/closeranks explain";
  for (int index = 0; index < supervisors; ++index) command += " " + folder.OfSupervisor(index);
  command += " 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  std::array<char, 4096> buffer;
  while (size_t count = fread(buffer.data(), 1, buffer.size(), pipe.get())) {
    text.append(buffer.data(), count);
  }
  return text;
}

// By records as SIGUSR2 has them written, once these ranks have come to where they wait.
std::string ExplainOnceTheyWait(JobProcess& job, const ReportFolder& folder,
                                const std::string& ranks = "0, 2 and 3") {
  while (true) {
    job.Signal(SIGUSR2);
    if (!job.WaitForOutput("SIGUSR2 asks for it")) return "";
    std::string text = Explain(folder);
    if (text.find(ranks + " wait for it") != std::string::npos) return text;
  }
}

constexpr char kLacksRank1[] =
    "It lacks rank 1 (member 1), which hasn't begun it: it computes, in step 5, since ";

TEST(Explain, OfARankThatIsStuckEveryRankHasTheStackInItsLog) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--faults=1:part:hang:5", "--step_timeout=1"}));
  for (int rank = 0; rank < 4; ++rank) {
    ASSERT_TRUE(job.WaitForOutput("] W "));
    ASSERT_TRUE(job.WaitForOutput("member 1 is stuck: it computes, in step 5, since "));
    ASSERT_TRUE(job.WaitForOutput("pause"));
    ASSERT_TRUE(job.WaitForOutput("closeranks::elastic::RunToyTraining("));
  }
  const std::string text = ExplainOnceTheyWait(job, folder);
  EXPECT_NE(text.find(kLacksRank1), std::string::npos) << text;
  EXPECT_EQ(CountLines(text, "closeranks::elastic::RunToyTraining("), 1) << text;
}

TEST(Explain, ARankThatIsSlowIsNamedInEveryLogOnceWithItsFactor) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {}, {"--dawdles=1", "--epochs=4"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "member 1 is slow: it takes "), 3) << job.output();
  EXPECT_NE(Explain(folder).find("member 1 is slow: it takes "), std::string::npos);
}

// A debugger may stop it.
TEST(Explain, OfARankThatIsStoppedAndWaitedFor) {
  ReportFolder folder;
  Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 4, {"--pause_ok", "--worker_timeout=0.1"},
                          {"--pause_step=5", "--pause_at=" + barrier.path(), "--timeout=0.1"}));
  for (int worker = 0; worker < 4; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  kill(testing_job::WorkerPid(folder, 1), SIGSTOP);
  barrier.Open();
  const std::string text = ExplainOnceTheyWait(job, folder);
  EXPECT_NE(text.find(kLacksRank1), std::string::npos) << text;
  kill(testing_job::WorkerPid(folder, 1), SIGCONT);
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(testing_job::Worlds(folder), 1) << job.output();
  testing_job::ExpectTrained(folder, 4);
  ExpectNoProcessLeft(folder);
}

TEST(Explain, OfARankThatWasLostThereIsARecord) {
  for (const char* fault : {"kill", "stop", "throw"}) {
    SCOPED_TRACE(fault);
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 4, {}, {std::string("--faults=1:part:") + fault + ":5"}));
    EXPECT_EQ(job.Wait(), 0) << job.output();
    const std::string text = Explain(folder);
    EXPECT_NE(text.find("it computes, in step 5"), std::string::npos) << text;
    EXPECT_NE(text.find("lost rank 1 (member 1)"), std::string::npos) << text;
    EXPECT_EQ(text.find("of which there is no record"), std::string::npos) << text;
  }
}

TEST(Explain, OfARankThatWasLostEveryHostHasTheRecordsOfThoseWhoWereThere) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 2);
  std::vector<std::unique_ptr<JobProcess>> jobs;
  for (int host = 0; host < 2; ++host) {
    jobs.push_back(std::make_unique<JobProcess>(
        hosts.Flags(host, {}, {"--faults=1:part:kill:5", "--hold_step=9", "--hold_size=4"})));
  }
  for (auto& job : jobs) EXPECT_EQ(job->Wait(), 0) << job->output();
  const std::string text = Explain(folder, 2);
  EXPECT_NE(text.find("lost rank 1 (member 1)"), std::string::npos) << text;
  int records = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.OfSupervisor(1))) {
    records += file.path().filename().string().starts_with("flight");
  }
  EXPECT_EQ(records, 2) << "of both workers there";
}

TEST(Explain, OfARankThatWasKilledWithinAReductionItIsSaidAndTheOthersArentBlamed) {
  ReportFolder folder;
  JobProcess job(
      RunFlags(folder, 4, {"--grace=0.2", "--restart_delay=3600"}, {"--faults=0:part:hang:5"}));
  ASSERT_TRUE(job.WaitForOutput("hangs"));
  ExplainOnceTheyWait(job, folder, "1, 2 and 3");
  for (const auto& file : std::filesystem::directory_iterator(folder.OfSupervisor())) {
    if (file.path().extension() == ".bin") std::filesystem::remove(file.path());
  }
  kill(testing_job::WorkerPid(folder, 1), SIGKILL);
  ASSERT_TRUE(job.WaitForOutput("was killed by signal 9"));
  job.Signal(SIGTERM);
  EXPECT_EQ(job.Wait(), testing_job::kLeft) << job.output();
  const std::string text = Explain(folder);
  EXPECT_NE(text.find("It lost rank 1 (member 1), which had begun it: its worker was killed by "
                      "signal 9 (Killed) in step 5; what it did last: it waits for the reduction, "
                      "in step 5"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("It lacks rank 0 (member 0), which hasn't begun it"), std::string::npos)
      << text;
  for (const char* rank : {"rank 2", "rank 3"}) {
    EXPECT_EQ(text.find(std::string("It lacks ") + rank), std::string::npos) << text;
  }
}

// The rest wait for a rank whose host is lost, or stands still.
TEST(Explain, OfAHostThatIsLostThereIsWhoWaitedForIt) {
  for (int signal : {SIGKILL, SIGSTOP}) {
    ReportFolder folder;
    Hosts hosts(folder, 3, 1);
    Barrier never(folder);
    std::vector<std::unique_ptr<JobProcess>> jobs;
    for (int host = 0; host < 3; ++host) {
      testing_job::Words worker = {"--tcp"};
      if (host == 2) worker.insert(worker.end(), {"--pause_step=5", "--pause_at=" + never.path()});
      jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(host, {}, worker)));
    }
    ASSERT_TRUE(jobs[2]->WaitForOutput("pauses"));
    const pid_t worker = testing_job::WorkerPid(folder, 2, 2);
    jobs[2]->Signal(signal);
    if (signal == SIGSTOP) kill(worker, SIGSTOP);
    for (int host : {0, 1}) EXPECT_EQ(jobs[host]->Wait(), 0) << jobs[host]->output();
    const std::string text = Explain(folder, 2);
    EXPECT_NE(text.find("rank 2 (member 2), of which there is no record"), std::string::npos)
        << text << jobs[0]->output();
    for (int host : {0, 1}) {
      EXPECT_EQ(CountLines(jobs[host]->output(), "flight records are written"), 1)
          << jobs[host]->output();
    }
    kill(worker, SIGKILL);
  }
}

TEST(Explain, OfAnOperationThatTakesTooLong) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--faults=1:part:hang:5", "--timeout=1"}));
  ASSERT_TRUE(job.WaitForOutput("took too long: flight records are written"));
  job.Signal(SIGTERM);
  const std::string text = Explain(folder);
  EXPECT_NE(text.find(kLacksRank1), std::string::npos) << text;
  EXPECT_NE(text.find("it ended with"), std::string::npos) << text;
}

// As by a monitor that wants to see how the job is.
TEST(Explain, HoweverOftenRecordsAreAskedForAnOperationThatTakesTooLongIsRecorded) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--faults=1:part:hang:5", "--timeout=1"}));
  ASSERT_TRUE(job.WaitForOutput("hangs"));
  const auto is_recorded = [&job] {
    return CountLines(job.output(), "took too long: flight records are written") > 0;
  };
  for (int asked = 0; asked < 20'000 && !is_recorded(); ++asked) {
    job.Signal(SIGUSR2);
    ASSERT_TRUE(job.WaitForOutput("SIGUSR2 asks for it: flight records are written"));
  }
  EXPECT_TRUE(is_recorded()) << job.output();
}

}  // namespace
}  // namespace closeranks
