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

}  // namespace
}  // namespace closeranks::launcher
