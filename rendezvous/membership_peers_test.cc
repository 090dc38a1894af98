#include "rendezvous/membership_peers.h"

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

using std::chrono::milliseconds;

constexpr MemberProcess kFirst{1, {1, 1}}, kSecond{1, {1, 2}};

TEST(Peers, SilenceAndAClosedLinkMakeUnreachable) {
  TimePoint now{};
  Peers peers(milliseconds(1000));
  peers.Heard(kFirst, now, false);
  EXPECT_TRUE(peers.IsAlive(kFirst, now));
  EXPECT_EQ(peers.next_expiry(), now + milliseconds(1000));
  EXPECT_FALSE(peers.IsAlive(kFirst, now + milliseconds(1000)));
  peers.LinkDown(kFirst);
  EXPECT_FALSE(peers.IsAlive(kFirst, now));
  peers.Heard(kFirst, now, false);
  EXPECT_TRUE(peers.IsAlive(kFirst, now)) << "it was heard again";
}

TEST(Peers, AListedProcessThatLivesKeepsItsPlaceAgainstANewcomer) {
  TimePoint now{};
  Peers peers(milliseconds(1000));
  peers.Heard(kFirst, now, false);
  EXPECT_EQ(peers.Heard(kSecond, now + milliseconds(10), true), nullptr);
  EXPECT_NE(peers.Heard(kSecond, now + milliseconds(2000), true), nullptr);
  EXPECT_TRUE(peers.IsAlive(kSecond, now + milliseconds(2000)));
  EXPECT_EQ(peers.Find(kFirst), nullptr);
}

TEST(Peers, UnevenMessagesLengthenTheTimeout) {
  TimePoint now{};
  Peers peers(milliseconds(1000));
  for (int i = 0; i < 50; ++i) {
    now += milliseconds(i % 2 == 0 ? 10 : 600);
    peers.Heard(kFirst, now, false);
  }
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(1500)));
  EXPECT_FALSE(peers.IsAlive(kFirst, now + milliseconds(4000)));
}

TEST(Peers, WhoIsCountedOnHasATimeoutsTimeToBeHeard) {
  TimePoint now{};
  Peers peers(milliseconds(1000));
  peers.CountOn(kFirst, now);
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(999)));
  peers.CountOn(kFirst, now + milliseconds(500));
  EXPECT_FALSE(peers.IsAlive(kFirst, now + milliseconds(1000))) << "once, not again and again";
  peers.LinkDown(kSecond);
  EXPECT_EQ(peers.Find(kSecond), nullptr) << "another process has its place";
}

TEST(Peers, WhoeverWasStoppedItselfBlamesNobody) {
  TimePoint now{};
  Peers peers(milliseconds(1000));
  peers.Heard(kFirst, now, false);
  peers.Forgive(milliseconds(5000));
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(5500)));
}

}  // namespace
}  // namespace closeranks::rendezvous
