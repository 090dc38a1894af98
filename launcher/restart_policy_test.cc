#include "launcher/restart_policy.h"

#include <csignal>

#include "base/exit_code.h"
#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

using std::chrono::minutes;

TEST(RestartPolicy, ACrashIsRestartedUpToTheBoundWithinTheWindow) {
  RestartPolicy policy({.max_restarts = 2, .window = minutes(10), .delay = minutes(1)});
  ManualClock clock;
  ExitResult crash{0, SIGSEGV};
  EXPECT_TRUE(policy.OnExit(clock.Now(), crash).restart);
  EXPECT_EQ(policy.OnExit(clock.Now(), crash).delay, minutes(1));
  EXPECT_FALSE(policy.OnExit(clock.Now(), crash).restart);
  clock.Advance(minutes(11));
  EXPECT_TRUE(policy.OnExit(clock.Now(), crash).restart);
}

TEST(RestartPolicy, WhoEndsAgainAtOnceWaitsLongerEachTime) {
  RestartPolicy policy({.max_restarts = 10});
  ManualClock clock;
  const ExitResult crash{1, 0};
  EXPECT_EQ(policy.OnExit(clock.Now(), crash).delay, Duration(0)) << "one that was running";
  Duration last{0};
  for (int i = 0; i < 8; ++i) {
    const Duration delay = policy.OnExit(clock.Now(), crash).delay;
    EXPECT_TRUE(delay > last || delay == RestartPolicy::kMostPause);
    clock.Advance(delay);
    last = delay;
  }
  EXPECT_EQ(last, RestartPolicy::kMostPause);
  clock.Advance(RestartPolicy::kQuick);
  EXPECT_EQ(policy.OnExit(clock.Now(), crash).delay, Duration(0));
}

TEST(RestartPolicy, AStartThatLackedSomethingCountsAsACrashAndWaitsForTheShortageToPass) {
  RestartPolicy policy({.max_restarts = 2});
  EXPECT_EQ(policy.OnShortage({}).delay, RestartPolicy::kShortagePause);
  EXPECT_TRUE(policy.OnExit({}, {0, SIGSEGV}).restart);
  EXPECT_FALSE(policy.OnShortage({}).restart);
  RestartPolicy patient({.delay = minutes(1)});
  EXPECT_EQ(patient.OnShortage({}).delay, minutes(1));
}

TEST(RestartPolicy, AFinalExitCodeIsNotRestarted) {
  RestartPolicy policy({});
  for (ExitCode code :
       {ExitCode::kOk, ExitCode::kUsage, ExitCode::kReplaced, ExitCode::kMismatch}) {
    EXPECT_FALSE(policy.OnExit({}, {static_cast<int>(code), 0}).restart);
  }
  EXPECT_TRUE(policy.OnExit({}, {static_cast<int>(ExitCode::kError), 0}).restart);
}

TEST(RestartPolicy, NoRestartAtAllIsSaidSo) {
  RestartPolicy policy({.max_restarts = 0});
  RestartPolicy::Verdict verdict = policy.OnExit({}, {0, SIGSEGV});
  EXPECT_FALSE(verdict.restart);
  EXPECT_EQ(verdict.reason, "--max-restarts=0 allows no restart");
}

}  // namespace
}  // namespace closeranks::launcher
