#include "elastic/ledger.h"

#include <unistd.h>

#include "base/simulated_files.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

TEST(StepSamples, EachPositionMustBeComputedExactlyOnce) {
  StepSamples a(3), b(3);
  a.Put(0, 10);
  a.Put(1, 0);
  b.Put(2, 12);
  auto sum = [](StepSamples x, const StepSamples& y) {
    for (size_t i = 0; i < x.count(); ++i) x.numbers()[i] += y.numbers()[i];
    return x;
  };
  EXPECT_EQ(*sum(a, b).Ids(), (std::vector<int64_t>{10, 0, 12}));
  EXPECT_FALSE(a.Ids().ok());
  b.Put(1, 0);
  EXPECT_FALSE(sum(a, b).Ids().ok());
  EXPECT_NE(a.Hash(), b.Hash());
}

TEST(Ledger, OnlyStableStepsAreWritten) {
  SystemFiles files;
  std::string path = testing::TempDir() + "/ledger_test." + std::to_string(getpid());
  {
    auto ledger = Ledger::Open(files, path);
    ASSERT_TRUE(ledger.ok());
    ledger->Applied(1, 1, 0, std::vector<int64_t>{4, 5});
    ledger->Applied(2, 1, 0, std::vector<int64_t>{6});
    EXPECT_EQ(*files.Read(path), "");
    EXPECT_TRUE(ledger->Stable(1).ok());
    EXPECT_EQ(*files.Read(path), "1 1 0 4 5\n");
    ledger->ForgetAfter(1);
    ledger->Applied(2, 2, 0, std::vector<int64_t>{7});
    EXPECT_TRUE(ledger->Stable(2).ok());
  }
  EXPECT_EQ(*files.Read(path), "1 1 0 4 5\n2 2 0 7\n");
  EXPECT_TRUE(files.Remove(path).ok());
}

TEST(Ledger, WhoReceivesTheStateRecordsTheStepsInItThatItsSourcesHaveNotYet) {
  SystemFiles files;
  const std::string path = testing::TempDir() + "/ledger_test." + std::to_string(getpid());
  auto source = Ledger::Open(files, path + ".source");
  auto joiner = Ledger::Open(files, path + ".joiner");
  ASSERT_TRUE(source.ok() && joiner.ok());
  for (StepNumber step : {3, 4, 5, 6}) {
    source->Applied(step, 1, 0, std::vector<int64_t>{static_cast<int64_t>(step) * 10});
  }
  ASSERT_TRUE(source->Stable(3).ok());
  // It has the state of step 5 and has made the next one itself.
  joiner->Applied(6, 1, 0, std::vector<int64_t>{60});
  for (const std::string& lines : {source->Unstable(), source->Unstable(), std::string()}) {
    EXPECT_TRUE(joiner->Take(lines, 5).ok());
  }
  EXPECT_EQ(joiner->Take("?", 5).code(), StatusCode::kInternal);
  ASSERT_TRUE(joiner->Stable(6).ok());
  EXPECT_EQ(*files.Read(path + ".joiner"), "4 1 0 40\n5 1 0 50\n6 1 0 60\n");
  EXPECT_TRUE(files.Remove(path + ".joiner").ok());
  EXPECT_TRUE(files.Remove(path + ".source").ok());
}

TEST(Ledger, AStateThatIsReceivedAgainRepeatsNothing) {
  SimulatedFiles files;
  auto ledger = Ledger::Open(files, "ledger");
  ASSERT_TRUE(ledger.ok());
  for (int received = 0; received < 2; ++received) {
    ledger->BeginLineage({1, 0, 0});
    ledger->ForgetAfter(0);
    ledger->Applied(1, 1, 0, std::vector<int64_t>{4});
    EXPECT_TRUE(ledger->Stable(1).ok());
  }
  EXPECT_EQ(*files.Read("ledger"), "lineage 1 of 0 from 0\n1 1 0 4\n");
}

TEST(Ledger, ABeginningThatWasLostBeforeAStepWasMadeLeavesNothing) {
  SimulatedFiles files;
  auto ledger = Ledger::Open(files, "ledger");
  ASSERT_TRUE(ledger.ok());
  ledger->BeginLineage({1, 0, 0});
  ledger->BeginLineage({2, 0, 0});
  ledger->Applied(1, 1, 0, std::vector<int64_t>{4});
  ASSERT_TRUE(ledger->Stable(1).ok());
  ledger->BeginLineage({2, 0, 0});
  ledger->Applied(2, 1, 0, std::vector<int64_t>{5});
  ASSERT_TRUE(ledger->Stable(2).ok());
  EXPECT_EQ(*files.Read("ledger"), "lineage 2 of 0 from 0\n1 1 0 4\n2 1 0 5\n");
}

TEST(Ledger, ALineageWithoutAStepOfItsOwnIsOnRecord) {
  SimulatedFiles files;
  auto ledger = Ledger::Open(files, "ledger");
  ASSERT_TRUE(ledger.ok());
  ledger->BeginLineage({2, 1, 10});
  ASSERT_TRUE(ledger->WriteLineage().ok());
  ASSERT_TRUE(ledger->WriteLineage().ok());
  ledger->BeginLineage({3, 1, 10});
  ledger->Applied(11, 1, 0, std::vector<int64_t>{4});
  ASSERT_TRUE(ledger->Stable(11).ok());
  EXPECT_EQ(*files.Read("ledger"), "lineage 2 of 1 from 10\n11 1 0 4\n");
}

TEST(Ledger, AFullDiskIsNamedWithItsRemedy) {
  SystemFiles files;
  auto ledger = Ledger::Open(files, "/dev/full");
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  ledger->Applied(1, 1, 0, std::vector<int64_t>{4, 5});
  Status written = ledger->Stable(1);
  EXPECT_EQ(written.code(), StatusCode::kResourceExhausted) << written;
  EXPECT_NE(written.message().find("/dev/full"), std::string::npos) << written;
  EXPECT_NE(written.message().find("make room"), std::string::npos) << written;
}

}  // namespace
}  // namespace closeranks::elastic
