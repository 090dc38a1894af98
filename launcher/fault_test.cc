#include "launcher/fault.h"

#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

TEST(Fault, RanksAndStepAreRead) {
  auto fault = ParseFault("2,3@100");
  ASSERT_TRUE(fault.ok());
  EXPECT_EQ(fault->ranks, (std::vector<int>{2, 3}));
  EXPECT_EQ(fault->step, 100u);
}

TEST(Fault, APercentageIsOfTheWholeRun) {
  auto fault = ParseFault("0@40%");
  ASSERT_TRUE(fault.ok());
  EXPECT_FALSE(fault->IsDue(39, 100));
  EXPECT_TRUE(fault->IsDue(40, 100));
  EXPECT_FALSE(ParseFault("0@7")->IsDue(6, 100));
  EXPECT_TRUE(ParseFault("0@7")->IsDue(7, 100));
}

TEST(Fault, WhatIsWrongIsSaid) {
  for (const char* text : {"", "0", "0@101%", "0@%", "0@x%", "@1", "0@", "0@0", "0,@1", "a@1",
                           "0@x", "-1@2", "1,1@2"}) {
    Status status = ParseFault(text).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_NE(status.message().find("RANK"), std::string::npos);
  }
}

class FaultAimTest : public testing::Test {
 protected:
  static TimePoint At(int ms) { return TimePoint(std::chrono::milliseconds(ms)); }

  FaultAim aim_{*ParseFault("1@3")};
};

TEST_F(FaultAimTest, TheMiddleOfTheStepIsHalfOfTheLastOne) {
  EXPECT_FALSE(aim_.OnBegin(At(100), 1, 2, 9).has_value());
  aim_.OnCommit(At(140), 2);
  aim_.OnCommit(At(145), 2);  // of another worker
  EXPECT_FALSE(aim_.was_due());
  EXPECT_FALSE(aim_.OnBegin(At(150), 0, 3, 9).has_value());  // rank 0
  EXPECT_TRUE(aim_.was_due());
  EXPECT_EQ(aim_.OnBegin(At(155), 1, 3, 9), std::chrono::milliseconds(15));
  EXPECT_EQ(aim_.Strike(), 3u);
}

TEST_F(FaultAimTest, AStepThatIsDoneBeforeItsMiddleIsLeftForTheNext) {
  aim_.OnBegin(At(100), 1, 2, 9);
  aim_.OnCommit(At(140), 2);
  EXPECT_EQ(aim_.OnBegin(At(150), 1, 3, 9), std::chrono::milliseconds(20));
  aim_.OnCommit(At(155), 3);
  EXPECT_FALSE(aim_.OnBegin(At(156), 1, 4, 9).has_value());  // Strike is still to come
  EXPECT_FALSE(aim_.Strike().has_value());
  aim_.OnCommit(At(160), 4);
  EXPECT_EQ(aim_.OnBegin(At(161), 1, 5, 9), std::chrono::milliseconds(1));  // a quarter of 4
  EXPECT_EQ(aim_.Strike(), 5u);
  EXPECT_EQ(aim_.committed(), 4u);
}

TEST_F(FaultAimTest, ItStrikesOnce) {
  EXPECT_TRUE(aim_.OnBegin(At(100), 1, 3, 9).has_value());
  EXPECT_EQ(aim_.Strike(), 3u);
  EXPECT_FALSE(aim_.OnBegin(At(150), 1, 4, 9).has_value());
}

}  // namespace
}  // namespace closeranks::launcher
