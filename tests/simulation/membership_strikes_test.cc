// Whoever is lost, and whichever link is cut one way, at whichever message of an agreement: the
// survivors go on within a bounded time, and nothing that must never happen does.
#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "tests/simulation/membership_world.h"

namespace closeranks::simulation {
namespace {

using Script = MembershipWorld::Script;

// Strikes at each message that follows the trigger, the proposer's and everybody's. Returns how
// many.
int StrikeEverywhere(Script script) {
  int strikes = 0;
  for (script.message = 0;; ++script.message) {
    const auto result = MembershipWorld(script, false).RunScript();
    EXPECT_EQ(result.violation, "")
        << script.members << " members, " << script.watchers << " watchers, trigger "
        << static_cast<int>(script.trigger) << ", strike " << static_cast<int>(script.strike)
        << " at message " << script.message << ", seed " << script.seed;
    if (!result.struck || !result.violation.empty()) return strikes;
    ++strikes;
  }
}

void StrikeInEveryWorld(Script::Trigger trigger, Script::Strike strike) {
  for (int members : {3, 4, 5}) {
    // Two of four lost, the lowest among them, may be too many.
    if (trigger == Script::Trigger::kPodKilled && members < 5) continue;
    for (int watchers : {8, 2}) {
      const int strikes = StrikeEverywhere({members, watchers, trigger, strike, 0, 1});
      // To each of the others: to prepare, promise, accept, have accepted, tell and have stored.
      EXPECT_GE(strikes, 6 * (members - 1));
    }
  }
}

class Strikes : public ::testing::TestWithParam<Script::Strike> {};

TEST_P(Strikes, WhileAKilledWorkerIsVotedOutAndItsSuccessorIn) {
  StrikeInEveryWorld(Script::Trigger::kWorkerKilled, GetParam());
}
TEST_P(Strikes, WhileALostMemberIsVotedOut) {
  StrikeInEveryWorld(Script::Trigger::kPodKilled, GetParam());
}
TEST_P(Strikes, WhileTheLowestLeaves) {
  StrikeInEveryWorld(Script::Trigger::kPodLeaves, GetParam());
}
TEST_P(Strikes, WhileANewMemberJoins) {
  StrikeInEveryWorld(Script::Trigger::kPodJoins, GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, Strikes,
                         ::testing::Values(Script::Strike::kSenderEndsBefore,
                                           Script::Strike::kSenderEndsAfter,
                                           Script::Strike::kReceiverEnds, Script::Strike::kCutThere,
                                           Script::Strike::kCutBack));

}  // namespace
}  // namespace closeranks::simulation
