#include "rendezvous/membership_peers.h"

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

using std::chrono::milliseconds;

constexpr FailureDetector::Bounds kBounds{milliseconds(150), milliseconds(1000),
                                          milliseconds(4000)};
constexpr MemberProcess kFirst{1, {1, 1}}, kSecond{1, {1, 2}};

TEST(Peers, SilenceAndAClosedLinkMakeUnreachable) {
  TimePoint now{};
  Peers peers(kBounds);
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
  Peers peers(kBounds);
  peers.Heard(kFirst, now, false);
  peers.Heard(kSecond, now + milliseconds(10), true);
  EXPECT_EQ(peers.Find(1)->process, kFirst);
  EXPECT_TRUE(peers.IsAlive(kSecond, now + milliseconds(10))) << "its twin";
  peers.Heard(kSecond, now + milliseconds(2000), true);
  EXPECT_EQ(peers.Find(1)->process, kSecond);
  EXPECT_FALSE(peers.IsAlive(kFirst, now + milliseconds(2000)));
}

TEST(Peers, WhoIsDisplacedLosesItsPlaceToWhoIsListedInstead) {
  TimePoint now{};
  Decision decision;
  decision.members = {{1, kSecond.incarnation, {}, "", 1}};
  decision.displaced = {kFirst};
  for (bool twin_was_heard : {false, true}) {
    Peers peers(kBounds);
    peers.Heard(kFirst, now, false);
    if (twin_was_heard) peers.Heard(kSecond, now, true);
    peers.ListedAre(decision);
    EXPECT_EQ(peers.Find(1)->process, kSecond);
    EXPECT_EQ(peers.IsAlive(kSecond, now), twin_was_heard);
    EXPECT_EQ(peers.Find(kFirst), nullptr);
    peers.CountOn(kSecond, now);
    EXPECT_TRUE(peers.IsAlive(kSecond, now)) << "it has a timeout's time";
  }
}

TEST(Peers, WhoIsListedGetsThePlaceAndWhoHadItIsItsTwin) {
  TimePoint now{};
  Decision decision;
  decision.members = {{1, kSecond.incarnation, {}, "", 1}};
  Peers peers(kBounds);
  peers.Heard(kSecond, now, false);
  peers.Heard(kFirst, now + milliseconds(10), false);
  ASSERT_EQ(peers.Find(1)->process, kFirst);
  peers.ListedAre(decision);
  EXPECT_EQ(peers.Find(1)->process, kSecond);
  EXPECT_TRUE(peers.IsAlive(kSecond, now + milliseconds(10)));
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(10)));
}

TEST(Peers, UnevenMessagesLengthenTheTimeout) {
  TimePoint now{};
  Peers peers(kBounds);
  for (int i = 0; i < 50; ++i) {
    now += milliseconds(i % 2 == 0 ? 150 : 600);
    peers.Heard(kFirst, now, false);
  }
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(1500)));
  EXPECT_FALSE(peers.IsAlive(kFirst, now + milliseconds(4000)));
}

TEST(Peers, WhoIsCountedOnHasATimeoutsTimeToBeHeard) {
  TimePoint now{};
  Peers peers(kBounds);
  peers.CountOn(kFirst, now);
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(999)));
  peers.CountOn(kFirst, now + milliseconds(500));
  EXPECT_FALSE(peers.IsAlive(kFirst, now + milliseconds(1000))) << "once, not again and again";
  peers.LinkDown(kSecond);
  EXPECT_EQ(peers.Find(kSecond), nullptr) << "another process has its place";
}

TEST(Peers, WhoeverWasStoppedItselfBlamesNobody) {
  TimePoint now{};
  Peers peers(kBounds);
  peers.Heard(kFirst, now, false);
  peers.Forgive(milliseconds(5000));
  EXPECT_TRUE(peers.IsAlive(kFirst, now + milliseconds(5500)));
}

}  // namespace
}  // namespace closeranks::rendezvous
