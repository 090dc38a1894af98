#include "net/loop_thread.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

TEST(LoopThread, RunAndWaitReturnsWhatTheFunctionReturns) {
  SystemClock clock;
  SystemLoopThread thread(clock, "test");
  EXPECT_FALSE(thread.OnLoop());
  EXPECT_TRUE(thread.RunAndWait([&] { return thread.OnLoop(); }));
  int runs = 0;
  thread.RunAndWait([&] { ++runs; });
  EXPECT_EQ(runs, 1);
  // From the loop itself there is nobody else to wait for.
  EXPECT_EQ(thread.RunAndWait([&] { return thread.RunAndWait([] { return 7; }); }), 7);
}

TEST(LoopThread, WhatWasPostedBeforeTheEndStillRuns) {
  SystemClock clock;
  int runs = 0;
  {
    SystemLoopThread thread(clock, "a name longer than the kernel keeps");
    for (int i = 0; i < 100; ++i) thread.RunInLoop([&] { ++runs; });
  }
  EXPECT_EQ(runs, 100);
}

TEST(LoopThread, LeavesSignalsToTheMainThread) {
  SystemClock clock;
  SystemLoopThread thread(clock, "test");
  const bool blocked = thread.RunAndWait([] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGSEGV) == 0;
  });
  EXPECT_TRUE(blocked);
}

}  // namespace
}  // namespace closeranks::net
