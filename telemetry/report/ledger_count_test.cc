#include "telemetry/report/ledger_count.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "telemetry/records.h"
#include "telemetry/report/synthetic_run.h"

namespace closeranks::telemetry {
namespace {

class LedgerCounting : public testing::Test {
 protected:
  LedgerCounting()
      : folder_(NewFolder(testing::UnitTest::GetInstance()->current_test_info()->name())) {
    WriteSyntheticRun(files_, folder_);
  }

  std::string Path(int process) const { return LedgerPath(folder_, SyntheticProcess(process)); }
  void Edit(int process, std::string_view from, std::string_view to) {
    EditFile(files_, Path(process), from, to);
  }
  Result<LedgerCount> Count() {
    return CountLedgers(files_, {folder_}, {.samples = 12, .epochs = 2});
  }

  SystemFiles files_;
  const std::string folder_;
};

TEST_F(LedgerCounting, AnUndisturbedRunConsumesEverySampleOnce) {
  LedgerCount count = Count().value();
  EXPECT_EQ(count.samples_expected, 24);
  EXPECT_EQ(count.samples_consumed, 24);
  EXPECT_EQ(count.samples_lost, 0);
  EXPECT_EQ(count.samples_duplicated, 0);
  EXPECT_EQ(count.ledgers.size(), 4u);
  EXPECT_EQ(count.last_step, 6u);
  EXPECT_TRUE(count.conflicts.empty());
  EXPECT_TRUE(count.Sound());
}

TEST_F(LedgerCounting, OneEditedIdInOneOfFourLedgersMovesBothCounters) {
  Edit(2, "2 1 1 7 4 5 6\n", "2 1 1 7 4 5 8\n");  // 8 belongs to step 3
  LedgerCount count = Count().value();
  EXPECT_EQ(count.samples_lost, 1);
  EXPECT_EQ(count.samples_duplicated, 1);
  EXPECT_EQ(count.samples_consumed, 23);
  EXPECT_EQ(count.epochs[0].lost, 1);
  EXPECT_EQ(count.epochs[1].lost, 0);
  ASSERT_EQ(count.conflicts.size(), 1u);
  EXPECT_EQ(count.conflicts[0].step, 2u);
  EXPECT_FALSE(count.EachSampleOnce());
}

TEST_F(LedgerCounting, TheSameEditInEveryLedgerMovesBothCounters) {
  for (int process : {1, 2}) Edit(process, "4 2 2 3 0 1 2\n", "4 2 2 3 0 1 3\n");
  LedgerCount count = Count().value();
  EXPECT_EQ(count.samples_lost, 1);
  EXPECT_EQ(count.samples_duplicated, 1);
  EXPECT_TRUE(count.conflicts.empty());  // they agree
}

TEST_F(LedgerCounting, AStepThatNoLedgerHoldsIsLostAndNamed) {
  for (int process : {1, 2}) Edit(process, "4 2 2 3 0 1 2\n", "");
  LedgerCount count = Count().value();
  EXPECT_EQ(count.samples_lost, 4);
  EXPECT_EQ(count.missing_steps, 1);
  EXPECT_EQ(count.missing_ranges, std::vector<std::string>{"4"});
}

TEST_F(LedgerCounting, AStepUnderAnotherNumberInEveryLedgerIsNotSound) {
  for (int process : {1, 2}) Edit(process, "4 2 2 3 0 1 2\n", "7 2 2 3 0 1 2\n");
  LedgerCount count = Count().value();
  EXPECT_TRUE(count.EachSampleOnce());
  EXPECT_EQ(count.missing_steps, 1);
  EXPECT_FALSE(count.Sound());
}

TEST_F(LedgerCounting, AStepThatIsListedTwiceIsDuplicated) {
  Edit(1, "4 2 2 3 0 1 2\n", "4 2 2 3 0 1 2\n4 2 2 3 0 1 2\n");
  LedgerCount count = Count().value();
  EXPECT_EQ(count.samples_lost, 0);
  EXPECT_EQ(count.samples_duplicated, 4);
  ASSERT_EQ(count.conflicts.size(), 1u);
  EXPECT_NE(count.conflicts[0].what.find("stands 2 times"), std::string::npos);
}

TEST_F(LedgerCounting, AnotherEpochInOneLedgerLosesTheWholeStepThere) {
  Edit(1, "4 2 2 3 0 1 2\n", "4 2 1 3 0 1 2\n");
  LedgerCount count = Count().value();
  EXPECT_EQ(count.samples_lost, 4);        // of epoch 2
  EXPECT_EQ(count.samples_duplicated, 4);  // of epoch 1
}

TEST_F(LedgerCounting, AnotherGenerationIsAConflictButNoLoss) {
  Edit(1, "4 2 2 3 0 1 2\n", "4 1 2 3 0 1 2\n");
  LedgerCount count = Count().value();
  EXPECT_TRUE(count.EachSampleOnce());
  ASSERT_EQ(count.conflicts.size(), 1u);
  EXPECT_NE(count.conflicts[0].what.find("generation"), std::string::npos);
}

TEST_F(LedgerCounting, IdsAndEpochsThatDontExistAreCountedApart) {
  Edit(3, "6 3 2 11 8 9 10\n", "6 3 2 11 8 9 10 12 -1\n7 3 3 0\n7 3 0 0\n");
  LedgerCount count = Count().value();
  EXPECT_EQ(count.out_of_range, 4);
  EXPECT_EQ(count.out_of_range_examples.size(), 4u);
  EXPECT_EQ(count.samples_lost, 0);
  EXPECT_FALSE(count.EachSampleOnce());
}

TEST_F(LedgerCounting, ATornLastLineIsIgnoredAndTold) {
  Edit(1, "6 3 2 11 8 9 10\n", "6 3 2 11 8");
  LedgerCount count = Count().value();
  EXPECT_TRUE(count.EachSampleOnce());
  EXPECT_EQ(count.torn.size(), 1u);
}

TEST_F(LedgerCounting, GarbageIsRefusedWithFileAndLine) {
  for (const char* garbage :
       {"", " ", "x", "4", "4 2", "0 2 2 1", "4 2 2 ", "4 2 2  1", "4 2 2 1x", "-4 2 2 1",
        "4 2 2 1\r", "4 2 2 99999999999999999999", "99999999999999999999 2 2 1",
        "4611686018427387905 2 2 1", "4 2 99999999999 1", "\xff\xfe"}) {
    WriteSyntheticRun(files_, folder_);
    Edit(1, "4 2 2 3 0 1 2\n", std::string(garbage) + "\n");
    Result<LedgerCount> count = Count();
    ASSERT_FALSE(count.ok()) << garbage;
    EXPECT_EQ(count.status().code(), StatusCode::kInvalidArgument) << garbage;
    EXPECT_NE(count.status().message().find(Path(1) + ":4: "), std::string::npos) << count.status();
  }
}

TEST_F(LedgerCounting, AHugeStepNumberCostsNoMemory) {
  Edit(1, "4 2 2 3 0 1 2\n", "4 2 2 3 0 1 2\n4611686018427387904 3 2\n");
  LedgerCount count = Count().value();
  EXPECT_EQ(count.missing_steps, int64_t{4611686018427387904} - 7);
}

TEST_F(LedgerCounting, WithoutLedgersThereIsNoCount) {
  std::string empty = folder_ + "/empty";
  ASSERT_TRUE(files_.MakeFolder(empty).ok());
  EXPECT_EQ(CountLedgers(files_, {empty}, {.samples = 1, .epochs = 1}).status().code(),
            StatusCode::kUnavailable);
  EXPECT_FALSE(CountLedgers(files_, {folder_ + "/none"}, {.samples = 1, .epochs = 1}).ok());
}

TEST_F(LedgerCounting, SeveralFoldersAreOneRun) {
  const std::string other = folder_ + "/other";
  ASSERT_TRUE(files_.MakeFolder(other).ok());
  auto count = [&] { return CountLedgers(files_, {folder_, other}, {.samples = 12, .epochs = 2}); };
  // One that has none may be the wrong one.
  EXPECT_EQ(count().status().code(), StatusCode::kUnavailable);
  // What stands in one folder alone counts, and so does what another one says of the same step.
  for (int process : {1, 2}) Edit(process, "4 2 2 3 0 1 2\n", "");
  EXPECT_FALSE(Count().value().Sound());
  const std::string path = LedgerPath(other, SyntheticProcess(1));
  ASSERT_TRUE(files_.Replace(path, "4 2 2 3 0 1 2\n").ok());
  EXPECT_TRUE(count().value().Sound());
  EXPECT_EQ(count().value().ledgers.size(), 5u);
  ASSERT_TRUE(files_.Replace(path, "4 2 2 3 0 1 2\n2 1 1 7 4 5 8\n").ok());
  EXPECT_EQ(count().value().samples_lost, 1);
  EXPECT_EQ(count().value().samples_duplicated, 1);
}

TEST_F(LedgerCounting, ImpossibleExpectationsAreRefused) {
  EXPECT_FALSE(CountLedgers(files_, {folder_}, {.samples = 0, .epochs = 1}).ok());
  EXPECT_FALSE(CountLedgers(files_, {folder_}, {.samples = 1, .epochs = -1}).ok());
  EXPECT_FALSE(CountLedgers(files_, {folder_}, {.samples = int64_t{1} << 62, .epochs = 1000}).ok());
}

// Ledgers of several starts of one run, with 2 samples in a step.
class SeveralStarts : public testing::Test {
 protected:
  SeveralStarts() : folder_(NewFolder("starts")) { EXPECT_TRUE(files_.MakeFolder(folder_).ok()); }
  ~SeveralStarts() override {
    const std::vector<std::string> names = files_.List(folder_).value();
    for (const std::string& name : names) {
      EXPECT_TRUE(files_.Remove(folder_ + "/" + name).ok());
    }
  }

  // Of steps [first, last], whose samples are those of the undisturbed run.
  void Write(MemberId member, const std::string& lineage, StepNumber first, StepNumber last) {
    std::string text = lineage;
    for (StepNumber step = first; step <= last; ++step) {
      const auto id = static_cast<int64_t>(step - 1) * 2;
      text += LedgerLine(step, 1, 1, std::vector<int64_t>{id, id + 1});
    }
    const MemberProcess process{member, {static_cast<uint64_t>(++written_) << 32, 1}};
    EXPECT_TRUE(files_.Replace(LedgerPath(folder_, process), text).ok());
  }
  Result<LedgerCount> Count() {
    return CountLedgers(files_, {folder_}, {.samples = 12, .epochs = 1});
  }

  SystemFiles files_;
  const std::string folder_;
  int written_ = 0;
};

TEST_F(SeveralStarts, StepsThatALaterStartDidAgainCountOnce) {
  Write(0, LineageLine(1, 0, 0), 1, 5);
  Write(1, LineageLine(1, 0, 0), 1, 4);
  // Lost before it came to a checkpoint of its own.
  Write(0, LineageLine(2, 1, 3), 4, 6);
  Write(0, LineageLine(3, 1, 2), 3, 6);
  Write(1, "", 1, 0);  // came too late for any step
  LedgerCount count = Count().value();
  EXPECT_TRUE(count.Sound()) << LedgerCountText(count);
  EXPECT_TRUE(count.conflicts.empty());
  EXPECT_EQ(count.void_lines, 3 + 2 + 3);
  EXPECT_EQ(count.resumed_from, 2u);
  EXPECT_EQ(count.last_step, 6u);
}

TEST_F(SeveralStarts, WhatNoStartDidIsMissing) {
  Write(0, LineageLine(1, 0, 0), 1, 3);
  Write(0, LineageLine(2, 1, 4), 5, 6);
  LedgerCount count = Count().value();
  EXPECT_EQ(count.missing_steps, 1);
  EXPECT_EQ(count.samples_lost, 2);
}

TEST_F(SeveralStarts, AStartFromNothingVoidsEverythingBefore) {
  Write(0, LineageLine(1, 0, 0), 1, 6);
  Write(0, LineageLine(2, 0, 0), 1, 6);
  LedgerCount count = Count().value();
  EXPECT_TRUE(count.Sound());
  EXPECT_EQ(count.void_lines, 6);
}

TEST_F(SeveralStarts, ALineageIsTheFirstLineOrAnError) {
  Write(0, LedgerLine(1, 1, 1, std::vector<int64_t>{0, 1}) + LineageLine(1, 0, 0), 2, 3);
  EXPECT_EQ(Count().status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace closeranks::telemetry
