#include "elastic/straggler.h"

#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

using std::chrono::milliseconds;

// Four ranks with 10 samples each, of which the last is the one that watches itself.
class StragglerTest : public testing::Test {
 protected:
  // What it learns in a step in which the others take 100 ms.
  std::optional<double> Step(int mine) {
    const Pace pace = Pace::Of(10, milliseconds(mine)), other = Pace::Of(10, milliseconds(100));
    return watch_.Heard(pace, 10, {pace.seconds_per_sample + 3 * other.seconds_per_sample, 4});
  }
  int TimesNamed(int steps, int mine) {
    int count = 0;
    for (int i = 0; i < steps; ++i) count += Step(mine).has_value() ? 1 : 0;
    return count;
  }

  StragglerWatch watch_;
};

TEST_F(StragglerTest, WhoIsPersistentlySlowIsNamedOnceWithItsFactor) {
  EXPECT_EQ(TimesNamed(StragglerWatch::kSteps - 1, 170), 0);
  EXPECT_NEAR(Step(170).value_or(0), 1.7, 0.001);
  EXPECT_EQ(TimesNamed(100, 170), 0);
}

TEST_F(StragglerTest, WhoWasWellAgainIsNamedAgain) {
  EXPECT_EQ(TimesNamed(30, 170), 1);
  EXPECT_EQ(TimesNamed(30, 100), 0);
  EXPECT_EQ(TimesNamed(30, 170), 1);
}

TEST_F(StragglerTest, ASlowStepNowAndThenIsNoStraggler) {
  for (int i = 0; i < 200; ++i) EXPECT_FALSE(Step(i % 3 == 0 ? 1000 : 100).has_value());
}

TEST_F(StragglerTest, WhatNobodyWouldNoticeIsNoSlowness) {
  for (int i = 0; i < 40; ++i) {
    const Pace mine = Pace::Of(10, std::chrono::microseconds(900));
    const Pace other = Pace::Of(10, std::chrono::microseconds(10));
    EXPECT_FALSE(watch_.Heard(mine, 10, {mine.seconds_per_sample + other.seconds_per_sample, 2})
                     .has_value());
  }
}

TEST_F(StragglerTest, AMoreThanEqualPartIsNoSlowness) {
  for (int i = 0; i < 40; ++i) {
    const Pace mine = Pace::Of(30, milliseconds(300)), other = Pace::Of(10, milliseconds(100));
    EXPECT_FALSE(watch_.Heard(mine, 30, {mine.seconds_per_sample + other.seconds_per_sample, 2})
                     .has_value());
  }
}

TEST_F(StragglerTest, WhoComputesAloneOrNothingIsNotCompared) {
  for (int i = 0; i < 40; ++i) {
    const Pace mine = Pace::Of(10, milliseconds(300));
    EXPECT_FALSE(watch_.Heard(mine, 10, mine).has_value());
    EXPECT_FALSE(watch_.Heard(Pace::Of(0, milliseconds(1)), 0, mine).has_value());
  }
}

}  // namespace
}  // namespace closeranks::elastic
