#include "elastic/leave_signal.h"

#include <poll.h>

#include <csignal>

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

bool IsReadable(int fd) {
  pollfd ready = {fd, POLLIN, 0};
  return poll(&ready, 1, 0) == 1;
}

TEST(LeaveSignal, IsKnownAtOnceAndSeenByWhoWaitsForIt) {
  for (int signal : {SIGTERM, SIGINT}) {
    auto taken = LeaveSignal::TakeOver();
    ASSERT_TRUE(taken.ok()) << taken.status();
    EXPECT_FALSE((*taken)->came());
    EXPECT_FALSE(IsReadable((*taken)->fd()));
    raise(signal);
    EXPECT_TRUE((*taken)->came());
    EXPECT_TRUE(IsReadable((*taken)->fd()));
  }
}

TEST(LeaveSignal, ASecondOneEndsTheProcess) {
  auto come_twice = [] {
    auto taken = LeaveSignal::TakeOver();
    raise(SIGTERM);
    raise(SIGTERM);
  };
  EXPECT_EXIT(come_twice(), testing::KilledBySignal(SIGTERM), "");
}

TEST(LeaveSignal, EndsTheProcessByTheOneThatCame) {
  for (int signal : {SIGTERM, SIGINT}) {
    auto come_and_end = [signal] {
      auto taken = LeaveSignal::TakeOver();
      raise(signal);
      (*taken)->EndProcess();
    };
    EXPECT_EXIT(come_and_end(), testing::KilledBySignal(signal), "");
  }
}

TEST(LeaveSignal, IsGivenBack) {
  auto take_and_give_back = [] {
    { auto taken = LeaveSignal::TakeOver(); }
    raise(SIGINT);
  };
  EXPECT_EXIT(take_and_give_back(), testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace closeranks::elastic
