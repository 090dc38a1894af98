// Jobs of real processes that go on from their checkpoints: what a run comes to doesn't depend on
// how often it was started, and every sample still counts once.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "elastic/checkpoint/store.h"
#include "gtest/gtest.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using elastic::CheckpointName;
using testing_job::CountLines;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectTrained;
using testing_job::JobProcess;
using testing_job::kReplaced;
using testing_job::kUsage;
using testing_job::RunFlags;
using testing_job::Words;

constexpr StepNumber kLast = 20;

class CheckpointedJob : public testing::Test {
 protected:
  // A start of the run with `n` workers.
  Words Flags(int n, const Words& worker) const {
    Words all = {"--checkpoint_folder=" + checkpoints_, "--await_disk"};
    all.insert(all.end(), worker.begin(), worker.end());
    return RunFlags(folder_, n, {}, all);
  }
  // Kills the supervisor, and with it all workers, when they are in step `step`.
  void TrainUntilKilledIn(StepNumber step, int n, Words worker) {
    testing_job::Barrier barrier(folder_, "barrier." + std::to_string(starts_++));
    worker.push_back("--pause_step=" + std::to_string(step));
    worker.push_back("--pause_at=" + barrier.path());
    JobProcess job(Flags(n, worker));
    for (int i = 0; i < n; ++i) ASSERT_TRUE(job.WaitForOutput("pauses"));
    job.Signal(SIGKILL);
    EXPECT_EQ(job.Wait(), -SIGKILL) << job.output();
    ExpectNoProcessLeft(folder_);
  }
  // To its good end; the hash of the weights.
  std::string TrainToTheEnd(int n, const Words& worker) {
    JobProcess job(Flags(n, worker));
    EXPECT_EQ(job.Wait(), 0) << job.output();
    ExpectNoProcessLeft(folder_);
    output_ = job.output();
    return ExpectTrained(folder_, n);
  }
  std::vector<StepNumber> Steps() {
    std::vector<StepNumber> steps;
    auto whole = store_.Whole();
    EXPECT_TRUE(whole.ok()) << whole.status();
    for (const CheckpointName& name : *whole) {
      EXPECT_TRUE(store_.Read(name).ok()) << store_.Read(name).status();
      steps.push_back(name.step);
    }
    return steps;
  }

  testing_job::ReportFolder folder_;
  const std::string checkpoints_ = folder_.path() + "/checkpoints";
  SystemFiles files_;
  elastic::CheckpointStore store_{files_, checkpoints_};
  std::string output_;  // of the last that came to its end
  int starts_ = 0;
};

// Of an undisturbed run without checkpoints.
std::string Undisturbed(const Words& worker) {
  testing_job::ReportFolder folder;
  JobProcess job(RunFlags(folder, 1, {}, worker));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  return ExpectTrained(folder, 1);
}

using CheckpointSteps = std::vector<StepNumber>;

TEST_F(CheckpointedJob, KilledAsAWholeAndStartedWithOtherNumbersOfRanksComesToTheSameBits) {
  const Words exact = {"--shards=12", "--checkpoint_every=3"};
  TrainUntilKilledIn(11, 4, exact);
  EXPECT_EQ(Steps(), (CheckpointSteps{6, 9}));
  TrainUntilKilledIn(15, 2, exact);
  EXPECT_EQ(Steps(), (CheckpointSteps{9, 12}));
  const std::string hash = TrainToTheEnd(3, exact);
  EXPECT_EQ(CountLines(output_, "goes on from step 12"), 1) << output_;
  EXPECT_EQ(hash, Undisturbed({"--shards=12"}));
  EXPECT_EQ(Steps(), (CheckpointSteps{18, kLast}));
}

TEST_F(CheckpointedJob, LosesNoSampleInFastModeEither) {
  TrainUntilKilledIn(8, 3, {"--checkpoint_every=2"});
  EXPECT_EQ(TrainToTheEnd(4, {"--checkpoint_every=2"}), Undisturbed({}));
}

TEST_F(CheckpointedJob, WhoIsKilledInTheMiddleOfACheckpointCostsNothingElse) {
  for (const char* fault : {"0:commit:kill:4", "1:save:kill:0", "0:part:kill:5", "2:part:kill:4"}) {
    SCOPED_TRACE(fault);
    std::filesystem::remove_all(checkpoints_);
    testing_job::ReportFolder folder;
    Words worker = {"--checkpoint_folder=" + checkpoints_, "--checkpoint_every=3",
                    std::string("--faults=") + fault};
    JobProcess job(RunFlags(folder, 3, {}, worker));
    EXPECT_EQ(job.Wait(), 0) << job.output();
    EXPECT_EQ(ExpectTrained(folder), Undisturbed({}));
    EXPECT_EQ(Steps().back(), kLast);
  }
}

TEST_F(CheckpointedJob, ACorruptOneIsPassedOverAndSaidWhy) {
  TrainUntilKilledIn(11, 2, {"--checkpoint_every=3"});
  const std::string newest = checkpoints_ + "/" + store_.Whole()->back().ToString();
  {
    std::fstream shard(newest + "/shard-00002-of-00002.safetensors",
                       std::ios::in | std::ios::out | std::ios::binary);
    shard.seekp(-1, std::ios::end);
    shard.put('\x55');
  }
  EXPECT_EQ(TrainToTheEnd(2, {"--checkpoint_every=3"}), Undisturbed({}));
  EXPECT_EQ(CountLines(output_, "its checksum is another"), 1) << output_;
  EXPECT_EQ(CountLines(output_, "goes on from step 6"), 1) << output_;
}

TEST_F(CheckpointedJob, AFolderThatIsGoneCostsTheCheckpointsAndOneWarningEach) {
  testing_job::Barrier barrier(folder_);
  JobProcess job(
      Flags(2, {"--checkpoint_every=8", "--pause_step=7", "--pause_at=" + barrier.path()}));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(job.WaitForOutput("pauses"));
  std::filesystem::remove_all(checkpoints_);
  std::ofstream(checkpoints_) << "a file is in its place";
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(ExpectTrained(folder_, 2), Undisturbed({}));
  // Of steps 8, 16 and the last.
  EXPECT_EQ(CountLines(job.output(), "is given up, and the training goes on"), 2 * 3)
      << job.output();
}

TEST_F(CheckpointedJob, ADiskThatHangsCostsTheCheckpointsAndTheRunEnds) {
  JobProcess job(RunFlags(folder_, 2, {},
                          {"--checkpoint_folder=" + checkpoints_, "--checkpoint_every=8",
                           "--checkpoint_timeout=0.5", "--disk_hangs=1"}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(ExpectTrained(folder_, 2), Undisturbed({}));
  EXPECT_TRUE(Steps().empty());
  EXPECT_EQ(CountLines(job.output(), "the disk has taken more than"), 1) << job.output();
  EXPECT_EQ(CountLines(job.output(), "ends without what was to be read or written"), 1)
      << job.output();
  ExpectNoProcessLeft(folder_);
}

TEST_F(CheckpointedJob, WhoAsksGetsACheckpoint) {
  testing_job::Barrier barrier(folder_);
  JobProcess job(Flags(2, {"--tells_signals=1", "--keep_checkpoints=5", "--pause_step=7",
                           "--pause_at=" + barrier.path()}));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(job.WaitForOutput("pauses"));
  job.Signal(SIGUSR1);
  ASSERT_TRUE(job.WaitForOutput("[1] got SIGUSR1"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(Steps(), (CheckpointSteps{7, kLast}));
}

// As after a partition: neither start knows of the other, but for the folder.
TEST_F(CheckpointedJob, BesideASecondStartTheFirstRecordsNothingMoreAndEnds) {
  for (const char* every : {"--checkpoint_every=3", "--checkpoint_every=0"}) {
    SCOPED_TRACE(every);
    std::filesystem::remove_all(checkpoints_);
    testing_job::Barrier barrier(folder_, "barrier." + std::to_string(starts_++));
    JobProcess first(Flags(2, {every, "--pause_step=5", "--pause_at=" + barrier.path()}));
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(first.WaitForOutput("pauses"));
    testing_job::ReportFolder other;
    JobProcess second(
        RunFlags(other, 2, {}, {"--checkpoint_folder=" + checkpoints_, every, "--noresume"}));
    EXPECT_EQ(second.Wait(), 0) << second.output();
    ExpectTrained(other, 2);
    barrier.Open();
    EXPECT_EQ(first.Wait(), kReplaced) << first.output();
    EXPECT_GE(CountLines(first.output(), "another start of this run has taken over"), 2)
        << first.output();
    // That would take over in turn.
    EXPECT_EQ(CountLines(first.output(), "start the job again"), 0) << first.output();
    ExpectNoProcessLeft(folder_);
    auto whole = store_.Whole();
    ASSERT_TRUE(whole.ok()) << whole.status();
    for (const CheckpointName& name : *whole) {
      EXPECT_TRUE(name.lineage == 2 || name.step < 5) << name.ToString();
    }
    EXPECT_EQ(whole->back().step, kLast);
  }
}

// The last checkpoint costs a rank, which takes what it had begun with it.
TEST_F(CheckpointedJob, ToldToLeaveAllTakeACheckpointWhoeverIsLostMeanwhile) {
  for (const char* lost : {"1:save:kill:0", "1:commit:kill:5"}) {
    SCOPED_TRACE(lost);
    std::filesystem::remove_all(checkpoints_);
    testing_job::ReportFolder folder;
    testing_job::Barrier barrier(folder);
    JobProcess job(RunFlags(folder, 3, {},
                            {"--checkpoint_folder=" + checkpoints_, "--pause_step=5",
                             "--pause_at=" + barrier.path(), std::string("--faults=") + lost}));
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(job.WaitForOutput("pauses"));
    job.Signal(SIGTERM);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(job.WaitForOutput("told to leave"));
    barrier.Open();
    EXPECT_EQ(job.Wait(), 80) << job.output();
    EXPECT_EQ(Steps(), (CheckpointSteps{5})) << job.output();
  }
}

TEST_F(CheckpointedJob, ToldToLeaveAfterASecondStartTheFirstEndsAtOnceAndSaysWhy) {
  testing_job::Barrier barrier(folder_);
  JobProcess first(Flags(2, {"--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(first.WaitForOutput("pauses"));
  testing_job::ReportFolder other;
  JobProcess second(RunFlags(other, 2, {}, {"--checkpoint_folder=" + checkpoints_, "--noresume"}));
  EXPECT_EQ(second.Wait(), 0) << second.output();
  first.Signal(SIGTERM);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(first.WaitForOutput("told to leave"));
  barrier.Open();
  EXPECT_EQ(first.Wait(), 81) << first.output();
  EXPECT_EQ(CountLines(first.output(), "nearly up"), 0) << first.output();
}

TEST_F(CheckpointedJob, ARecordThatCantBeReadRefusesTheStartForAll) {
  TrainUntilKilledIn(6, 2, {"--checkpoint_every=2"});
  const std::string record = checkpoints_ + "/lineage-000001/lineage.json";
  std::filesystem::rename(record, record + ".away");
  std::filesystem::create_directory(record);  // reading it fails with another error than ENOENT
  JobProcess job(Flags(3, {"--checkpoint_every=2"}));
  EXPECT_EQ(job.Wait(), 2) << job.output();
  EXPECT_GE(CountLines(job.output(), "lineage.json: Is a directory"), 3) << job.output();
  std::filesystem::remove(record);
  std::filesystem::rename(record + ".away", record);
  TrainToTheEnd(2, {"--checkpoint_every=2"});
  EXPECT_EQ(CountLines(output_, "goes on from step 4"), 1) << output_;
}

TEST_F(CheckpointedJob, AFinishedRunIsFinished) {
  const std::string hash = TrainToTheEnd(2, {});
  EXPECT_EQ(Steps(), (CheckpointSteps{kLast}));
  JobProcess again(Flags(3, {}));
  EXPECT_EQ(again.Wait(), 0) << again.output();
  EXPECT_EQ(CountLines(again.output(), "trained to " + hash), 3) << again.output();
  EXPECT_EQ(ExpectTrained(folder_), hash);
}

TEST_F(CheckpointedJob, AnotherRunsCheckpointsAreRefusedByAll) {
  TrainUntilKilledIn(6, 2, {"--checkpoint_every=2"});
  JobProcess job(Flags(3, {"--seed=2"}));
  EXPECT_EQ(job.Wait(), kUsage) << job.output();
  EXPECT_GE(CountLines(job.output(), "its has seed=1 batch=12, this one has seed=2 batch=12"), 3)
      << job.output();
  ExpectNoProcessLeft(folder_);
  JobProcess anew(Flags(3, {"--seed=2", "--noresume"}));
  EXPECT_EQ(anew.Wait(), 0) << anew.output();
}

TEST_F(CheckpointedJob, AFolderThatCantBeUsedEndsTheRunAndIsNamed) {
  JobProcess job(Flags(3, {"--checkpoint_folder=/dev/null/checkpoints"}));
  EXPECT_EQ(job.Wait(), 2) << job.output();
  EXPECT_GE(CountLines(job.output(), "/dev/null/checkpoints"), 3) << job.output();
  ExpectNoProcessLeft(folder_);
}

}  // namespace
}  // namespace closeranks
