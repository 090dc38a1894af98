#include "rendezvous/membership.h"

#include "gtest/gtest.h"
#include "rendezvous/membership_fixture.h"

namespace closeranks::rendezvous {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = WorkerCommand::Kind;

TEST_F(MembershipTest, GenerationOneNeedsAllStartingMembers) {
  Start(0, 3);
  Start(2, 3);
  Pass(seconds(10));
  EXPECT_EQ(agents_[0].membership->decision(), nullptr);
  Start(1, 3);
  for (MemberId member : {0, 1, 2}) EXPECT_EQ(InstalledBy(member), 1u);
  EXPECT_EQ(agents_[0].membership->phase(), Membership::Phase::kInstalled);
}

TEST_F(MembershipTest, AStartThatLacksAMemberTimesOut) {
  Start(0, 2);
  Pass(seconds(21));
  EXPECT_EQ(agents_[0].outcome, Outcome::kJoinTimedOut);
}

TEST_F(MembershipTest, AKilledWorkerIsVotedOutWithoutWaitingForAnyTimer) {
  StartAll(3);
  const TimePoint before = now_;
  for (MemberId member :
       {1, 0}) {  // of another member than the proposer, and of the proposer itself
    const Generation generation = agents_[2].membership->decision()->generation;
    KillWorker(member);
    EXPECT_EQ(InstalledBy(2), generation + 1);
  }
  EXPECT_EQ(now_, before);
  EXPECT_EQ(agents_[2].membership->decision()->members.size(), 3u) << "their agents still vote";
  EXPECT_EQ(agents_[2].membership->decision()->world().size(), 1);
}

TEST_F(MembershipTest, ALostProposerIsReplacedAtOnceWhenItsLinkCloses) {
  StartAll(3);
  KillAgent(0);
  EXPECT_EQ(InstalledBy(1), 2u);
  EXPECT_EQ(InstalledBy(2), 2u);
}

TEST_F(MembershipTest, ASilentMemberIsVotedOutOnceThePatienceIsOver) {
  StartAll(3);
  agents_.erase(0);
  Pass(milliseconds(900));
  EXPECT_EQ(InstalledBy(1), 1u);
  Pass(milliseconds(1200));
  EXPECT_EQ(InstalledBy(1), 2u);
  EXPECT_EQ(agents_[1].suspicions, 1);
  EXPECT_EQ(agents_[2].suspicions, 1);
}

TEST_F(MembershipTest, OnceItIsKnownToBeHeardEvenlyAMemberBetweenPodsIsMissedInAFifthOfASecond) {
  options_ = MembershipOptions::BetweenPods();
  StartAll(4);
  Pass(seconds(2));
  agents_.erase(0);
  Pass(milliseconds(140));
  EXPECT_EQ(InstalledBy(1), 1u);
  Pass(milliseconds(80));
  EXPECT_EQ(InstalledBy(1), 2u);
  EXPECT_EQ(agents_[1].suspicions, 1);
}

TEST_F(MembershipTest, ALinkThatClosesIsNoSuspicion) {
  StartAll(3);
  KillAgent(0);
  EXPECT_EQ(InstalledBy(1), 2u);
  EXPECT_EQ(agents_[1].suspicions, 0);
  EXPECT_EQ(agents_[1].losses, 1);
}

TEST_F(MembershipTest, TheHeartbeatsOfALargeWorldAreFurtherApart) {
  const MembershipOptions options = MembershipOptions::BetweenPods();
  EXPECT_EQ(options.HeartbeatInterval(4), milliseconds(50));
  EXPECT_EQ(options.HeartbeatInterval(400), milliseconds(400));
  EXPECT_EQ(options.HeartbeatInterval(10'000), seconds(1));
  EXPECT_EQ(options.Patience(4).least, milliseconds(200));
  EXPECT_EQ(options.Patience(10'000).least, seconds(4));
}

TEST_F(MembershipTest, AWorkerStopsBeforeItsAgentPromises) {
  StartAll(3);
  agents_[1].freezes = agents_[2].freezes = false;
  KillWorker(0);
  EXPECT_EQ(agents_[1].membership->decision()->generation, 1u);
  AnswerFreeze(1);
  EXPECT_EQ(agents_[1].membership->decision()->generation, 1u) << "the proposer waits for both";
  AnswerFreeze(2);
  EXPECT_EQ(InstalledBy(1), 2u);
}

TEST_F(MembershipTest, AnUpdateThatTakesLongIsWaitedFor) {
  StartAll(4);
  for (MemberId member : {0, 1}) agents_[member].freezes = false;
  KillWorker(3);
  Pass(seconds(2));
  EXPECT_EQ(agents_[2].membership->decision()->generation, 1u);
  AnswerFreeze(0);
  Pass(seconds(2));
  EXPECT_EQ(agents_[2].membership->decision()->generation, 1u);
  AnswerFreeze(1);
  Pass(milliseconds(1));
  EXPECT_EQ(agents_[2].membership->decision()->generation, 2u);
  EXPECT_EQ(agents_[2].membership->decision()->world().size(), 3);
  for (MemberId member : {0, 1, 2}) EXPECT_EQ(agents_[member].commands.back().kind, Kind::kInstall);
}

TEST_F(MembershipTest, AWorkerThatDoesNotStopIsKilled) {
  options_.freeze_timeout = seconds(2);
  StartAll(2);
  agents_[0].freezes = false;
  KillWorker(1);
  Pass(milliseconds(1900));
  EXPECT_EQ(agents_[0].commands.back().kind, Kind::kFreeze);
  Pass(milliseconds(200));
  EXPECT_EQ(agents_[0].commands.back().kind, Kind::kKill);
}

TEST_F(MembershipTest, OfTwoTheLowerGoesOnAlone) {
  StartAll(2);
  KillAgent(1);
  EXPECT_EQ(InstalledBy(0), 2u);
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 1);
}

TEST_F(MembershipTest, OfTwoTheHigherHoldsAndThenGivesUp) {
  StartAll(2);
  KillAgent(0);
  Pass(seconds(4));
  EXPECT_EQ(agents_[1].membership->phase(), Membership::Phase::kHeld);
  EXPECT_FALSE(agents_[1].membership->reason().empty());
  EXPECT_EQ(agents_[1].membership->decision()->generation, 1u);
  Pass(seconds(2));
  EXPECT_EQ(agents_[1].outcome, Outcome::kQuorumLost);
}

TEST_F(MembershipTest, NeitherHalfOfFourGoesOnWithoutTheTieRule) {
  StartAll(4);
  for (MemberId a : {0, 1}) {
    for (MemberId b : {2, 3}) Cut(a, b);
  }
  Pass(seconds(3));
  EXPECT_EQ(InstalledBy(0), 2u) << "the half with the lowest member goes on";
  EXPECT_EQ(agents_[2].membership->decision()->generation, 1u);
  cut_.clear();
  Pass(seconds(1));
  EXPECT_EQ(agents_[2].membership->decision()->world().size(), 4);
}

TEST_F(MembershipTest, ALeaverExitsOnceTheGenerationWithoutItIsInstalled) {
  StartAll(3);
  agents_[0].membership->OnLeaving(now_);
  Settle();
  EXPECT_EQ(agents_[0].outcome, Outcome::kLeft);
  EXPECT_EQ(InstalledBy(1), 2u);
  EXPECT_EQ(agents_[1].membership->decision()->Find(0), nullptr);
}

// It takes nothing in any more, though others may still tell it something.
TEST_F(MembershipTest, WhoHasLeftSuspectsNobodyAndIsNotLost) {
  StartAll(3);
  agents_[0].membership->OnLeaving(now_);
  Settle();
  ASSERT_EQ(agents_[0].outcome, Outcome::kLeft);
  Pass(seconds(10));
  EXPECT_EQ(agents_[1].losses, 0);
  KillAgent(2);
  EXPECT_EQ(agents_[0].suspicions, 0);
  EXPECT_EQ(agents_[0].losses, 0);
}

TEST_F(MembershipTest, AReportedLinkMakesANewGenerationOfTheSameMembers) {
  StartAll(3);
  agents_[1].membership->OnWorkerReport(now_, 1, {2, agents_[2].worker});
  Settle();
  EXPECT_EQ(InstalledBy(2), 2u);
  EXPECT_EQ(agents_[2].membership->decision()->world().size(), 3);
  agents_[1].membership->OnWorkerReport(now_, 1, {2, agents_[2].worker});
  Settle();
  EXPECT_EQ(InstalledBy(2), 2u) << "an older generation's report is of no interest";
}

TEST_F(MembershipTest, ALinkThatBreaksAgainAndAgainCountsAsCut) {
  join_timeout_ = seconds(60);
  StartAll(3);
  BreakLink(1, 2, 3);
  Pass(seconds(1));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 2);
  Pass(seconds(20));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 2) << "it isn't let in meanwhile";
  Pass(seconds(15));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
}

TEST_F(MembershipTest, WhoHasACutLinkIsntLetInWithAnotherEither) {
  join_timeout_ = seconds(60);
  StartAll(3);
  BreakLink(1, 2, 3);
  ASSERT_EQ(agents_[0].membership->decision()->world().size(), 2);
  const Generation generation = agents_[0].membership->decision()->generation;
  Start(3, 3, true, false);
  Pass(seconds(2));
  EXPECT_EQ(agents_[0].membership->decision()->generation, generation + 1);
  EXPECT_EQ(agents_[0].membership->decision()->Find(2), nullptr);
  // Another worker has another link.
  KillWorker(2);
  StartWorker(2, true);
  Pass(seconds(1));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 4);
}

TEST_F(MembershipTest, WhoseWorkerIsAnotherHasNoCutLinks) {
  StartAll(3);
  BreakLink(1, 2, 3);
  ASSERT_EQ(agents_[0].membership->decision()->Find(2), nullptr);
  KillWorker(1);
  StartWorker(1, true);
  Pass(seconds(1));
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
}

TEST_F(MembershipTest, LinksThatBrokeLongAgoOrToAnotherWorkerDontCount) {
  StartAll(3);
  BreakLink(1, 2, 2);
  Pass(seconds(31));
  BreakLink(1, 2, 2);
  KillWorker(2);
  StartWorker(2, true);
  Pass(seconds(1));
  BreakLink(1, 2, 1);
  EXPECT_EQ(agents_[0].membership->decision()->world().size(), 3);
}

TEST_F(MembershipTest, LinksThatBreakBecauseTheirOtherEndIsLostAreNoCuts) {
  StartAll(3);
  for (int time = 0; time < 5; ++time) {
    const DecisionRef decision = agents_[0].membership->decision();
    const MemberProcess lost = {2, agents_[2].worker};
    for (MemberId member : {0, 1}) {
      agents_[member].membership->OnWorkerReport(now_, decision->generation, lost);
    }
    KillWorker(2);
    ASSERT_EQ(agents_[0].membership->decision()->world().size(), 2);
    StartWorker(2, true);
    Pass(milliseconds(200));
    ASSERT_EQ(agents_[0].membership->decision()->world().size(), 3) << "time " << time;
    ASSERT_EQ(agents_[0].membership->phase(), Membership::Phase::kInstalled);
  }
}

TEST_F(MembershipTest, TheEndOfTheJobIsADecision) {
  StartAll(3);
  for (MemberId member : {0, 1})
    agents_[member].membership->OnWorkerDone(now_, agents_[member].worker);
  Settle();
  EXPECT_FALSE(agents_[0].outcome.has_value());
  agents_[2].membership->OnWorkerDone(now_, agents_[2].worker);
  Settle();
  for (MemberId member : {0, 1, 2}) EXPECT_EQ(agents_[member].outcome, Outcome::kEnded);
  // Who comes late is told.
  KillAgent(2);
  Start(2, 3);
  Pass(milliseconds(500));
  EXPECT_EQ(agents_[2].outcome, Outcome::kEnded);
}

TEST_F(MembershipTest, WhenEverybodyLeavesAllStopAtOneStepAndHaveLeft) {
  StartAll(3);
  for (MemberId member : {0, 1, 2}) agents_[member].membership->OnLeaving(now_);
  Settle();
  for (MemberId member : {0, 1, 2}) EXPECT_EQ(agents_[member].outcome, Outcome::kLeft);
  EXPECT_EQ(agents_[0].membership->decision()->end, JobEnd::kAllLeft);
}

TEST_F(MembershipTest, StartersThatDifferEndEverywhereAndNoneIsInstalled) {
  terms_[2].configuration = "x=2";
  for (MemberId member = 0; member < 3; ++member) Start(member, 3);
  for (auto& [member, agent] : agents_) {
    EXPECT_EQ(agent.outcome, Outcome::kMismatched);
    EXPECT_NE(agent.membership->decision()->mismatch.find("'x=2'"), std::string::npos);
    EXPECT_TRUE(agent.commands.empty());
  }
  // Started again and mended, they begin anew as soon as those are gone.
  terms_.clear();
  for (MemberId member = 0; member < 3; ++member) {
    KillAgent(member);
    Start(member, 3);
  }
  Pass(seconds(2));
  for (MemberId member = 0; member < 3; ++member) EXPECT_EQ(InstalledBy(member), 1u);
}

TEST_F(MembershipTest, LosingTheLastWorkerWithTheStateEndsTheJobAtOnceAndEverywhere) {
  StartAll(2);
  KillWorker(0);
  EXPECT_EQ(InstalledBy(1), 2u);
  KillWorker(1);
  for (MemberId member : {0, 1}) EXPECT_EQ(agents_[member].outcome, Outcome::kStateLost);
  // A process that was never in it doesn't end with it.
  KillAgent(1);
  Start(1, 2);
  Pass(milliseconds(500));
  EXPECT_FALSE(agents_[1].outcome.has_value());
}

TEST_F(MembershipTest, WhileAnAgentIsOutOfReachItsWorkerMayHaveTheStateAndIsWaitedFor) {
  StartAll(3);
  Cut(0, 2);
  Cut(1, 2);
  for (MemberId member : {0, 1}) {  // at the same moment
    const Incarnation worker = std::exchange(agents_[member].worker, {});
    agents_[member].membership->OnWorkerGone(now_, worker);
  }
  Pass(seconds(4));
  for (MemberId member : {0, 1}) EXPECT_FALSE(agents_[member].outcome.has_value());
  EXPECT_EQ(agents_[0].membership->phase(), Membership::Phase::kHeld);
  Pass(seconds(2));
  for (MemberId member : {0, 1}) EXPECT_EQ(agents_[member].outcome, Outcome::kQuorumLost);
}

TEST_F(MembershipTest, WithALinkCutBetweenTwoTheThirdAndTheLowerGoOn) {
  StartAll(3);
  Cut(1, 2);
  Pass(seconds(4));
  const DecisionRef decision = agents_[0].membership->decision();
  EXPECT_NE(decision->Find(1), nullptr);
  EXPECT_EQ(decision->Find(2), nullptr);
  EXPECT_EQ(agents_[0].losses, 1) << "it heard it all the time";
  const Generation generation = decision->generation;
  Pass(seconds(4));
  EXPECT_EQ(agents_[0].membership->decision()->generation, generation) << "it is not to and fro";
}

TEST_F(MembershipTest, InALargeWorldOnlyTheWatchersHearEverybody) {
  StartAll(30);
  Pass(seconds(1));
  delivered_ = 0;
  Pass(seconds(3));
  EXPECT_LE(delivered_, 2 * 8 * 30 * 21);
  KillAgent(25);
  EXPECT_EQ(InstalledBy(29), 2u) << "nobody waits for a heartbeat";
}

TEST_F(MembershipTest, WhenAllWatchersFallSilentAtOnceTheNextInLineTakeOver) {
  StartAll(30);
  for (MemberId watcher : {0, 16, 8, 24, 4, 20, 12, 28}) agents_.erase(watcher);
  Pass(seconds(3));
  for (const auto& [member, agent] : agents_) EXPECT_EQ(InstalledBy(member), 2u);
}

TEST_F(MembershipTest, WhoIsNoWatcherLeavesAtOnceToo) {
  StartAll(12);
  agents_[11].membership->OnLeaving(now_);
  Settle();
  EXPECT_EQ(agents_[11].outcome, Outcome::kLeft);
}

TEST_F(MembershipTest, WithFewerHostsThanMustBeTheVotesFollowWhoIsLeftAndNobodyTrains) {
  least_hosts_ = 2;
  StartAll(2);
  Start(2, 2);
  Pass(seconds(1));
  EXPECT_EQ(InstalledBy(2), 2u);
  KillAgent(0);
  EXPECT_EQ(InstalledBy(1), 3u);
  KillAgent(2);
  const Membership& last = *agents_[1].membership;
  EXPECT_EQ(last.phase(), Membership::Phase::kHeld);
  EXPECT_EQ(last.decision()->generation, 4u);
  EXPECT_TRUE(last.installed());
  EXPECT_EQ(last.reason(), "1 host is left, and 2 at least are to be there: start 1 more");
  EXPECT_EQ(InstalledBy(1), 3u);
  // It alone decides who is let in, and they go on from what it has. Nobody trains whom that would
  // disturb, so nothing is waited for.
  Start(3, 2);
  Pass(milliseconds(40));
  EXPECT_EQ(InstalledBy(1), 5u);
  EXPECT_EQ(InstalledBy(3), 5u);
}

TEST_F(MembershipTest, WithFewerHostsThanMustBeForTooLongTheQuorumIsLost) {
  least_hosts_ = 2;
  StartAll(3);
  KillAgent(2);
  EXPECT_EQ(InstalledBy(0), 2u);
  KillAgent(1);
  Pass(milliseconds(4900));
  EXPECT_FALSE(agents_[0].outcome.has_value());
  Pass(milliseconds(200));
  EXPECT_EQ(agents_[0].outcome, Outcome::kQuorumLost);
  EXPECT_EQ(InstalledBy(0), 2u);
}

TEST_F(MembershipTest, AHostWhoseWorkerHasCrashedCountsAsThereAndAWitnessDoesNot) {
  least_hosts_ = 2;
  StartAll(2);
  KillWorker(1);
  EXPECT_EQ(InstalledBy(0), 2u);
  witness_ = 2;
  Start(2, 2, /*with_worker=*/false);
  Pass(seconds(1));
  ASSERT_EQ(InstalledBy(0), 3u);
  KillAgent(1);
  EXPECT_EQ(agents_[0].membership->phase(), Membership::Phase::kHeld);
  EXPECT_EQ(InstalledBy(0), 3u);
}

TEST_F(MembershipTest, WithAWitnessEitherOfTwoGoesOnAlone) {
  for (MemberId lost : {0, 1}) {
    agents_.clear();
    StartAll(2);
    witness_ = 2;
    Start(2, 2, /*with_worker=*/false);
    Pass(seconds(1));
    ASSERT_EQ(InstalledBy(1 - lost), 2u);
    KillAgent(lost);
    EXPECT_EQ(InstalledBy(1 - lost), 3u);
  }
}

TEST_F(MembershipTest, WhoLeavesWaitsUntilItIsVotedOut) {
  StartAll(3);
  Cut(2, 0);
  Cut(2, 1);
  agents_[2].membership->OnLeaving(now_);
  Settle();
  EXPECT_TRUE(agents_[2].membership->is_leaving());
  cut_.clear();
  Pass(seconds(1));
  EXPECT_FALSE(agents_[2].membership->is_leaving());
  EXPECT_EQ(agents_[2].outcome, Outcome::kLeft);
}

TEST_F(MembershipTest, NothingIsSentButHeartbeatsWhileNothingHappens) {
  StartAll(3);
  Pass(seconds(1));
  delivered_ = 0;
  Pass(seconds(3));
  EXPECT_LE(delivered_, 3 * 2 * 21);
  EXPECT_EQ(agents_[0].membership->decision()->generation, 1u);
}

}  // namespace
}  // namespace closeranks::rendezvous
