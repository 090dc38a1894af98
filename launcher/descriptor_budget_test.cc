#include "launcher/descriptor_budget.h"

#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

TEST(DescriptorBudget, StrangersGetWhatTheJobDoesntNeed) {
  size_t few = DescriptorsForStrangers(200, 8, 4, 0).value();
  EXPECT_LT(few, 200u - 8 - 4 * 6);
  EXPECT_EQ(DescriptorsForStrangers(210, 8, 4, 0).value(), few + 10);
  EXPECT_EQ(DescriptorsForStrangers(200, 18, 4, 0).value(), few - 10);
  EXPECT_LT(DescriptorsForStrangers(200, 8, 5, 0).value(), few);
  EXPECT_LT(DescriptorsForStrangers(200, 8, 4, 3).value(), few);
}

TEST(DescriptorBudget, HoweverHighTheLimitIsTheirNumberIsBounded) {
  EXPECT_EQ(DescriptorsForStrangers(1'000'000'000, 8, 4, 0).value(), 512u);
}

TEST(DescriptorBudget, ALimitThatIsTooLowIsNamedWithOneThatWillDo) {
  Status refused = DescriptorsForStrangers(100, 8, 64, 0).status();
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(refused.message().find("at most 100 open files"), std::string::npos) << refused;
  EXPECT_NE(refused.message().find("raise the limit to 432"), std::string::npos) << refused;
  EXPECT_TRUE(DescriptorsForStrangers(432, 8, 64, 0).ok());
}

}  // namespace
}  // namespace closeranks::launcher
