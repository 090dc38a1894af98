// Who comes in, comes back, or comes twice.
#include "gtest/gtest.h"
#include "rendezvous/membership.h"
#include "rendezvous/membership_fixture.h"

namespace closeranks::rendezvous {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(MembershipTest, ARestartedSupervisorHasNoVoteUntilItIsListed) {
  StartAll(2);
  agents_.erase(0);
  Start(0, 2);
  Pass(seconds(2));
  // Member 0 would count twice, and it is there; but it isn't who was listed.
  EXPECT_EQ(agents_[0].membership->decision()->generation, 1u);
  EXPECT_EQ(agents_[1].membership->phase(), Membership::Phase::kHeld);
}

TEST_F(MembershipTest, ARestartedSupervisorIsAdmittedAsAJoiner) {
  StartAll(3);
  KillAgent(1);
  Start(1, 3, true, false);
  Pass(milliseconds(300));
  EXPECT_EQ(InstalledBy(1), agents_[0].membership->decision()->generation);
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
}

TEST_F(MembershipTest, ARestartedWorkerIsListedAgain) {
  StartAll(3);
  const Incarnation old = agents_[1].worker;
  KillWorker(1);
  StartWorker(1, false);
  Pass(milliseconds(300));
  const DecisionRef decision = agents_[0].membership->decision();
  EXPECT_EQ(decision->world().size(), 3);
  EXPECT_TRUE(decision->IsDisplaced({1, old}));
}

TEST_F(MembershipTest, JoinersWhoComeTogetherAreAdmittedTogether) {
  StartAll(2);
  Start(2, 2, true, false);
  Pass(milliseconds(10));
  Start(3, 2, true, false);
  Pass(milliseconds(400));
  EXPECT_EQ(agents_[0].membership->decision()->generation, 2u);
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 4);
}

TEST_F(MembershipTest, WhoWasMerelyExcludedRejoinsAndKeepsItsState) {
  StartAll(3);
  for (MemberId other : {0, 1}) Cut(other, 2);
  Pass(seconds(2));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 2);
  cut_.clear();
  Pass(seconds(1));
  const DecisionRef decision = agents_[2].membership->decision();
  EXPECT_EQ(decision->world().size(), 3);
  EXPECT_EQ(decision->NeededBy(agents_[2].state), CatchUp::kNothing);
}

TEST_F(MembershipTest, WhoComesBackIsLetInAtOnceTheFirstTimeInAWhile) {
  options_ = MembershipOptions::BetweenPods();
  StartAll(3);
  auto lose_the_link_and_pass = [this](Duration time) {
    for (MemberId other : {0, 1}) {
      agents_[other].membership->OnPeerLinkDown(now_, agents_[2].process);
      agents_[2].membership->OnPeerLinkDown(now_, agents_[other].process);
      Cut(other, 2);
    }
    Settle();
    ASSERT_EQ(agents_[0].membership->decision()->world().size(), 2);
    cut_.clear();
    for (MemberId other : {0, 1}) {
      agents_[other].membership->OnPeerLinkUp(now_, agents_[2].process);
      agents_[2].membership->OnPeerLinkUp(now_, agents_[other].process);
    }
    Settle();
    Pass(time);
  };
  lose_the_link_and_pass(milliseconds(100));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
  lose_the_link_and_pass(milliseconds(300));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 2) << "it waits for others";
  Pass(milliseconds(500));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
  Pass(seconds(30));
  lose_the_link_and_pass(milliseconds(100));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
}

TEST_F(MembershipTest, OfTwoNewProcessesOfOneMemberTheLaterGetsInAndTheOtherEnds) {
  StartAll(2);
  options_.started = seconds(1);
  Start(2, 2, true, false);
  Agent older = std::move(agents_[2]);
  options_.started = seconds(2);
  Start(2, 2, true, false);
  const MemberProcess newer = agents_[2].process;
  // Both speak, in turn; here whoever spoke last is in the other one's place.
  for (int i = 0; i < 4; ++i) {
    std::swap(agents_[2], older);
    Pass(milliseconds(20));
  }
  ASSERT_EQ(agents_[2].process, newer);
  Pass(milliseconds(400));
  const DecisionRef decision = agents_[0].membership->decision();
  ASSERT_NE(decision->FindSupervisor(newer), nullptr) << *decision;
  EXPECT_EQ(decision->generation, 2u) << "nobody was voted out for it";
  for (int i = 0; i < 4; ++i) {
    std::swap(agents_[2], older);
    Pass(milliseconds(200));
  }
  ASSERT_EQ(agents_[2].process, newer);
  EXPECT_EQ(agents_[2].outcome, std::nullopt);
  EXPECT_EQ(older.outcome, Outcome::kReplaced);
}

TEST_F(MembershipTest, AReplacedProcessLearnsThatItIs) {
  StartAll(3);
  Agent old = std::move(agents_[2]);
  KillAgent(2);
  Start(2, 3, true, false);
  Pass(milliseconds(300));
  ASSERT_EQ(agents_[0].membership->decision()->world().size(), 3);
  // The old one comes back, and says what it always said.
  std::swap(agents_[2], old);
  agents_[2].membership->OnTick(now_);
  Settle();
  EXPECT_EQ(agents_[2].outcome, Outcome::kReplaced);
}

}  // namespace
}  // namespace closeranks::rendezvous
