#include "net/event_loop.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

using std::chrono::milliseconds;

struct Pair {
  Pair() {
    int fds[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    ours.Reset(fds[0]);
    theirs.Reset(fds[1]);
  }
  void TheirsSends() { ASSERT_EQ(write(theirs.get(), "x", 1), 1); }
  UniqueFd ours;
  UniqueFd theirs;
};

class EventLoopTest : public testing::Test {
 protected:
  ManualClock clock_;
  EventLoop loop_{clock_};
  std::vector<std::string> log_;

  auto Log(std::string word) {
    return [this, word = std::move(word)] { log_.push_back(word); };
  }
};

TEST_F(EventLoopTest, TimersRunInOrderOfTimeThenOfSetting) {
  loop_.RunAfter(milliseconds(2), Log("late"));
  loop_.RunAfter(milliseconds(1), Log("first"));
  loop_.RunAfter(milliseconds(1), Log("second"));
  loop_.RunAt(kNever, Log("never"));
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 0u);
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 2u);
  clock_.Advance(milliseconds(1));
  loop_.PollOnce(Duration::zero());
  EXPECT_EQ(log_, (std::vector<std::string>{"first", "second", "late"}));
}

TEST_F(EventLoopTest, ACancelledTimerNeverRuns) {
  const TimerId early = loop_.RunAfter(milliseconds(1), Log("early"));
  TimerId same_batch = kNoTimer;
  loop_.RunAfter(milliseconds(1), [&] { loop_.Cancel(same_batch); });
  same_batch = loop_.RunAfter(milliseconds(1), Log("same batch"));
  loop_.Cancel(early);
  loop_.Cancel(early);
  loop_.Cancel(kNoTimer);
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 1u);
  EXPECT_TRUE(log_.empty());
}

TEST_F(EventLoopTest, ATimerThatSetsItselfAnewDoesntStarveTheRest) {
  std::function<void()> again = [&] {
    log_.push_back("timer");
    loop_.RunAfter(Duration::zero(), again);
  };
  again();
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  EXPECT_EQ(log_.size(), 3u);
}

TEST_F(EventLoopTest, ReportsReadableUntilRead) {
  Pair pair;
  ASSERT_TRUE(loop_
                  .Watch(pair.ours.get(), {.readable = true},
                         [&](Ready ready) {
                           EXPECT_TRUE(ready.readable);
                           log_.push_back("ready");
                         })
                  .ok());
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 0u);
  pair.TheirsSends();
  loop_.PollOnce(Duration::max());
  loop_.PollOnce(Duration::max());
  EXPECT_EQ(log_.size(), 2u);
  char byte;
  ASSERT_EQ(read(pair.ours.get(), &byte, 1), 1);
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 0u);
  loop_.Unwatch(pair.ours.get());
}

TEST_F(EventLoopTest, ModifyChangesWhatIsReported) {
  Pair pair;
  ASSERT_TRUE(loop_
                  .Watch(pair.ours.get(), {},
                         [&](Ready ready) {
                           EXPECT_TRUE(ready.writable);
                           log_.push_back("writable");
                         })
                  .ok());
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 0u);
  loop_.Modify(pair.ours.get(), {.writable = true});
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  loop_.Unwatch(pair.ours.get());
}

TEST_F(EventLoopTest, AHangUpIsReportedWhateverTheInterest) {
  Pair pair;
  bool hung_up = false;
  ASSERT_TRUE(loop_.Watch(pair.ours.get(), {}, [&](Ready ready) { hung_up = ready.hung_up; }).ok());
  pair.theirs.Reset();
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  EXPECT_TRUE(hung_up);
  loop_.Unwatch(pair.ours.get());
}

TEST_F(EventLoopTest, UnwatchingTheOtherOfTheSameBatchSilencesIt) {
  Pair one;
  Pair two;
  const auto silence_both = [&](Ready) {
    log_.push_back("ran");
    loop_.Unwatch(one.ours.get());
    loop_.Unwatch(two.ours.get());
  };
  ASSERT_TRUE(loop_.Watch(one.ours.get(), {.readable = true}, silence_both).ok());
  ASSERT_TRUE(loop_.Watch(two.ours.get(), {.readable = true}, silence_both).ok());
  one.TheirsSends();
  two.TheirsSends();
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  EXPECT_EQ(loop_.PollOnce(Duration::zero()), 0u);
  EXPECT_EQ(log_.size(), 1u);
}

TEST_F(EventLoopTest, AReopenedDescriptorDoesntInheritEventsOfTheOldOne) {
  Pair one;
  Pair two;
  bool replaced = false;
  // Whichever comes first closes the other's descriptor and watches an idle one of the same number.
  const auto replace = [&](UniqueFd& other) {
    ASSERT_FALSE(replaced) << "an old event reached a new watch";
    replaced = true;
    Pair idle;
    loop_.Unwatch(other.get());
    ASSERT_EQ(dup3(idle.ours.get(), other.get(), O_CLOEXEC), other.get());
    ASSERT_TRUE(
        loop_.Watch(other.get(), {.readable = true}, [&](Ready) { log_.push_back("new"); }).ok());
    one.theirs = std::move(idle.theirs);
  };
  ASSERT_TRUE(
      loop_.Watch(one.ours.get(), {.readable = true}, [&](Ready) { replace(two.ours); }).ok());
  ASSERT_TRUE(
      loop_.Watch(two.ours.get(), {.readable = true}, [&](Ready) { replace(one.ours); }).ok());
  one.TheirsSends();
  two.TheirsSends();
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  EXPECT_TRUE(log_.empty());
  loop_.Unwatch(one.ours.get());
  loop_.Unwatch(two.ours.get());
}

TEST_F(EventLoopTest, ACallbackMayUnwatchItselfAndStillUseWhatItHolds) {
  Pair pair;
  auto held = std::make_shared<std::string>("still here");
  ASSERT_TRUE(loop_
                  .Watch(pair.ours.get(), {.readable = true},
                         [&, held](Ready) {
                           loop_.Unwatch(pair.ours.get());
                           log_.push_back(*held);
                         })
                  .ok());
  held.reset();
  pair.TheirsSends();
  loop_.PollOnce(Duration::max());
  EXPECT_EQ(log_, std::vector<std::string>{"still here"});
}

TEST_F(EventLoopTest, PostedFunctionsRunInOrderAndThoseTheyPostInALaterRound) {
  loop_.Post([&] {
    log_.push_back("one");
    loop_.Post(Log("three"));
  });
  loop_.Post(Log("two"));
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 2u);
  EXPECT_EQ(loop_.PollOnce(Duration::max()), 1u);
  EXPECT_EQ(log_, (std::vector<std::string>{"one", "two", "three"}));
}

TEST(EventLoop, WakesForAPostFromAnotherThread) {
  SystemClock clock;
  EventLoop loop(clock);
  int ran = 0;
  std::thread other([&] { loop.Post([&] { ++ran; }); });
  while (ran == 0) loop.PollOnce(Duration::max());
  other.join();
  EXPECT_EQ(ran, 1);
}

TEST(EventLoop, WakesForATimer) {
  SystemClock clock;
  EventLoop loop(clock);
  bool ran = false;
  const TimePoint due = clock.Now() + std::chrono::microseconds(300);
  loop.RunAt(due, [&] {
    EXPECT_GE(clock.Now(), due);
    ran = true;
  });
  while (!ran) loop.PollOnce(Duration::max());
}

TEST(EventLoop, StopEndsRunAfterWhatWasPostedBefore) {
  SystemClock clock;
  EventLoop loop(clock);
  int ran = 0;
  loop.Post([&] { ++ran; });
  loop.Stop();
  loop.Run();
  EXPECT_EQ(ran, 1);
  loop.Post([&] {
    ++ran;
    loop.Stop();
  });
  loop.Run();
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace closeranks::net
