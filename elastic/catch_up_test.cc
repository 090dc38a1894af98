#include "elastic/catch_up.h"

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

using rendezvous::Decision;
using rendezvous::WorkerState;

const WorkerState kStep6 = {6, 2, 600};
const WorkerState kStep7 = {7, 2, 700};
const Parts kHeld = {{-1, 0, 4}};

// Generation 3 goes on from step 7, which generation 2 reduced.
Decision ResumeFromStep7() {
  Decision decision;
  decision.generation = 3;
  decision.resume = kStep7;
  decision.floor = 6;
  decision.history = {{1, 4, 400}, {2, 7, 700}};
  return decision;
}

std::vector<Standing> Standings(const Decision& decision, std::vector<RankRecord> records) {
  auto plan = PlanCatchUp(decision, records);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? plan->standings : std::vector<Standing>{};
}

TEST(PlanCatchUp, WhoIsAtTheResumedStepNeedsNothing) {
  auto plan = PlanCatchUp(ResumeFromStep7(),
                          std::vector<RankRecord>{{kStep7, kHeld, true}, {kStep7, {}, true}});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->source, 0);
  EXPECT_EQ(plan->held, (std::vector<Parts>{kHeld, {}}));
  EXPECT_FALSE(plan->AnyoneIs(Standing::kOneBehind));
  EXPECT_FALSE(plan->AnyoneIs(Standing::kNeedsState));
}

TEST(PlanCatchUp, OneStepBehindOnTheLineIsSentThatStep) {
  auto plan = PlanCatchUp(
      ResumeFromStep7(),
      std::vector<RankRecord>{{kStep6, kHeld, true}, {kStep7, {}, false}, {kStep7, {}, true}});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->standings,
            (std::vector{Standing::kOneBehind, Standing::kCurrent, Standing::kCurrent}));
  EXPECT_EQ(plan->source, 1);
  EXPECT_EQ(plan->step_source, 2);
  // What it holds is of the step that it is about to be sent.
  EXPECT_TRUE(plan->held[0].empty());
}

TEST(PlanCatchUp, TheStepComesFromWhoKeepsItAndTheStateIfNobodyDoes) {
  const RankRecord joined = {kStep7, {}, false};
  auto plan = PlanCatchUp(ResumeFromStep7(),
                          std::vector<RankRecord>{joined, {kStep6, {}, true}, {kStep7, {}, true}});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->source, 0);
  EXPECT_EQ(plan->step_source, 2);
  EXPECT_EQ(plan->standings[1], Standing::kOneBehind);

  plan = PlanCatchUp(ResumeFromStep7(), std::vector<RankRecord>{joined, {kStep6, {}, true}});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->standings[1], Standing::kNeedsState);
}

TEST(PlanCatchUp, WhoIsOnAnotherLineOrFurtherBehindNeedsEverything) {
  for (WorkerState state :
       {WorkerState{}, WorkerState{7, 2, 701}, WorkerState{7, 1, 700}, WorkerState{5, 2, 500},
        WorkerState{8, 2, 800}, WorkerState{6, 1, 600}}) {
    EXPECT_EQ(Standings(ResumeFromStep7(), {{state, kHeld, true}, {kStep7, {}, true}}),
              (std::vector{Standing::kNeedsState, Standing::kCurrent}))
        << state;
  }
}

TEST(PlanCatchUp, BeforeTheFirstStepEverybodyGetsTheLowestRanksInitialState) {
  Decision decision;
  decision.generation = 1;
  decision.history = {{0, 0, 0}};
  EXPECT_EQ(Standings(decision, {{}, {}, {}}),
            (std::vector{Standing::kCurrent, Standing::kNeedsState, Standing::kNeedsState}));
}

TEST(PlanCatchUp, ANewcomersInitialStateIsntTheOneBeforeTheFirstStep) {
  Decision decision;
  decision.generation = 2;
  decision.resume = {1, 1, 100};
  decision.history = {{0, 0, 0}, {1, 1, 100}};
  EXPECT_EQ(Standings(decision, {{{}, {}, false}, {decision.resume, {}, true}}),
            (std::vector{Standing::kNeedsState, Standing::kCurrent}));
}

TEST(PlanCatchUp, WithoutAHolderOfTheResumedStepThereIsNoPlan) {
  EXPECT_EQ(
      PlanCatchUp(ResumeFromStep7(), std::vector<RankRecord>{{kStep6, {}, true}}).status().code(),
      StatusCode::kInternal);
}

}  // namespace
}  // namespace closeranks::elastic
