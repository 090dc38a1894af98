// A sample that ends whoever computes it: the run ends before it ends every rank, and names it.
// Workers that others end are no sign of one.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::CountLines;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectTrained;
using testing_job::Hosts;
using testing_job::JobProcess;
using testing_job::kPoison;
using testing_job::LastCommit;
using testing_job::ReportFolder;
using testing_job::RunFlags;
using testing_job::Undisturbed;

// The batch of step 5 are samples 48 to 59; what a rank has of it is divided among those that are
// left.
void ExpectNamed(const std::string& output, const std::string& samples) {
  EXPECT_GE(CountLines(output, " failed one after the other while they computed " + samples +
                                   " of step 5's batch); the job ends here: mend the samples or "
                                   "the program"),
            1)
      << output;
  EXPECT_EQ(CountLines(output, "uorum"), 0) << output;
}

// How many workers were lost. Of each there is a flight record.
int Losses(const ReportFolder& folder) {
  int losses = 0;
  for (const auto& exit : testing_job::Exits(folder)) {
    if (exit.event.cause.empty()) continue;
    ++losses;
    const std::string process =
        std::to_string(exit.event.member) + "." + exit.event.incarnation.substr(0, 8);
    EXPECT_TRUE(std::filesystem::exists(folder.OfSupervisor() + "/flight." + process + ".bin"))
        << process;
  }
  return losses;
}

TEST(Poison, EndsTheRunWithTheSecondRankThatFailsOnASample) {
  for (const char* action : {"segv", "throw", "check", "fail"}) {
    SCOPED_TRACE(action);
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 4, {}, {std::string("--poison=5:7:") + action + ":1000"}));
    EXPECT_EQ(job.Wait(), kPoison) << job.output();
    ExpectNamed(job.output(), "sample 55 (position 7");
    EXPECT_EQ(Losses(folder), 2) << job.output();
    for (int member = 0; member < 4; ++member) EXPECT_LE(LastCommit(folder, member), 4);
    ExpectNoProcessLeft(folder);
  }
}

// The second loss takes the last state with it, which isn't why the run ends.
TEST(Poison, IsToldOfTheLastTwoToo) {
  for (const char* action : {"segv", "throw"}) {
    SCOPED_TRACE(action);
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 2, {}, {std::string("--poison=5:0:") + action + ":1000"}));
    EXPECT_EQ(job.Wait(), kPoison) << job.output();
    ExpectNamed(job.output(), "samples 48, 49, 50, 51, 52, 53 (positions 0 to 5");
    ExpectNoProcessLeft(folder);
  }
}

TEST(Poison, EndsEveryHostOfTheJob) {
  for (const char* action : {"segv", "throw"}) {
    for (int workers : {1, 2}) {
      SCOPED_TRACE(std::string(action) + " " + std::to_string(workers));
      ReportFolder folder;
      Hosts hosts(folder, 3, workers);
      std::vector<std::unique_ptr<JobProcess>> jobs;
      for (int host = 0; host < 3; ++host) {
        jobs.push_back(std::make_unique<JobProcess>(
            hosts.Flags(host, {}, {"--tcp", std::string("--poison=5:11:") + action + ":1000"})));
      }
      for (auto& job : jobs) {
        EXPECT_EQ(job->Wait(), kPoison) << job->output();
        ExpectNamed(job->output(),
                    workers == 1 ? "samples 58, 59 (positions 10 to 11" : "sample 59 (position 11");
      }
      ExpectNoProcessLeft(folder, 3);
    }
  }
}

TEST(Poison, IsNoneWhereOneRankFailed) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--poison=5:7:segv:1"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(ExpectTrained(folder), Undisturbed());
  ExpectNoProcessLeft(folder);
}

// A group of this process's with less memory than it may have; whoever is started meanwhile belongs
// to it.
class MemoryLimit {
 public:
  MemoryLimit() {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const size_t at = line.find(":memory:");
      if (at != std::string::npos) parent_ = kRoot + line.substr(at + 8);
    }
    folder_ = parent_ + "/closeranks-test-" + std::to_string(getpid());
    is_there_ = !parent_.empty() && mkdir(folder_.c_str(), 0755) == 0 &&
                Write(folder_ + "/memory.swappiness", "0") &&
                Write(folder_ + "/memory.limit_in_bytes", std::to_string(1 << 30)) &&
                Write(folder_ + "/cgroup.procs", std::to_string(getpid()));
  }
  ~MemoryLimit() {
    Leave();
    if (!parent_.empty()) rmdir(folder_.c_str());
  }
  bool is_there() const { return is_there_; }
  // This process does; what it has started stays.
  void Leave() const {
    if (is_there_) Write(parent_ + "/cgroup.procs", std::to_string(getpid()));
  }

 private:
  static constexpr const char* kRoot = "/sys/fs/cgroup/memory";

  static bool Write(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    return static_cast<bool>(file << text << std::flush);
  }

  std::string parent_, folder_;
  bool is_there_ = false;
};

// It is the kernel that kills, but for what the program does.
TEST(Poison, IsWhatTakesAllMemoryToo) {
  MemoryLimit limit;
  if (!limit.is_there()) {
    GTEST_SKIP() << "needs to make a control group of version 1 with a limit of memory: run it as "
                    "root where /sys/fs/cgroup/memory can be written";
  }
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--poison=5:7:hog:1000"}));
  limit.Leave();
  EXPECT_EQ(job.Wait(), kPoison) << job.output();
  ExpectNamed(job.output(), "sample 55 (position 7");
  EXPECT_GE(CountLines(job.output(), "was killed by signal 9 (Killed) as memory ran out in step 5"),
            2)
      << job.output();
  EXPECT_EQ(Losses(folder), 2) << job.output();
  ExpectNoProcessLeft(folder);
}

// Who is preempted, or killed by hand, has nothing against its samples.
TEST(Poison, IsNoneWhereRanksAreKilledOneAfterTheOther) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 4, {}, {"--poison=5:7:kill:3"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(Losses(folder), 3) << job.output();
  EXPECT_EQ(ExpectTrained(folder), Undisturbed());
  ExpectNoProcessLeft(folder);
}

}  // namespace
}  // namespace closeranks
