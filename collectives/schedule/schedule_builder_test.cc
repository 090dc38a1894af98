#include "collectives/schedule/schedule_builder.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "collectives/schedule/symbolic_executor.h"
#include "gtest/gtest.h"

namespace closeranks::collectives {
namespace {

bool WaitsFor(const Schedule& schedule, uint32_t step, uint32_t earlier) {
  const auto dependents = schedule.DependentsOf(earlier);
  return std::find(dependents.begin(), dependents.end(), step) != dependents.end();
}

TEST(ScheduleBuilder, ReadWaitsForTheWriteOfAnyPartOfItsRange) {
  ScheduleBuilder builder(0, 2, false);
  const auto low = builder.Recv(1, Output(0), 10);
  const auto high = builder.Recv(1, Output(10), 10);
  const auto middle = builder.Send(1, Output(5), 10);
  const auto first = builder.Send(1, Output(0), 5);
  const Schedule schedule = std::move(builder).Build();
  EXPECT_TRUE(WaitsFor(schedule, middle, low));
  EXPECT_TRUE(WaitsFor(schedule, middle, high));
  EXPECT_TRUE(WaitsFor(schedule, first, low));
  EXPECT_FALSE(WaitsFor(schedule, first, high));
}

TEST(ScheduleBuilder, WriteWaitsForReadsAndForTheWriteBefore) {
  ScheduleBuilder builder(0, 2, false);
  const auto write = builder.Recv(1, Output(0), 10);
  const auto read = builder.Send(1, Output(0), 4);
  const auto again = builder.Recv(1, Output(2), 8);
  const Schedule schedule = std::move(builder).Build();
  EXPECT_TRUE(WaitsFor(schedule, again, read));
  EXPECT_TRUE(WaitsFor(schedule, again, write)) << "elements 4-9 weren't read in between";
}

TEST(ScheduleBuilder, InPlaceTheInputIsTheOutput) {
  for (bool in_place : {false, true}) {
    ScheduleBuilder builder(0, 2, in_place);
    const auto send = builder.Send(1, Input(0), 4);
    const auto receive = builder.Recv(1, Output(0), 4);
    const Schedule schedule = std::move(builder).Build();
    EXPECT_EQ(WaitsFor(schedule, receive, send), in_place);
  }
}

TEST(SymbolicExecutor, FindsAMissingDependency) {
  // Two steps that race for one element: with the dependency taken out some order shows it.
  ScheduleBuilder builder(0, 1, false);
  builder.Copy(Output(0), Input(0), 1);
  builder.Copy(Output(1), Output(0), 1);
  Schedule schedule = std::move(builder).Build();
  schedule.dependents.clear();
  schedule.dependency_counts = {0, 0};
  schedule.dependents_begin = {0, 0, 0};
  SeededRandom random(1);
  int found = 0;
  for (int i = 0; i < 20; ++i) {
    Expressions expressions;
    std::vector<SymbolicRank> ranks(1);
    ranks[0].schedule = &schedule;
    ranks[0].inputs = {{expressions.Leaf(0, 0, 0)}};
    ranks[0].output.assign(2, Expressions::kUnset);
    if (!RunSymbolically(ranks, expressions, random).ok()) ++found;
  }
  EXPECT_GT(found, 0);
}

TEST(SymbolicExecutor, FindsADeadlockAndAMessageOfAnotherSize) {
  ScheduleBuilder waits(0, 2, false), silent(1, 2, false);
  waits.Recv(1, Output(0), 3);
  const Schedule waiting = std::move(waits).Build();
  const Schedule nothing = std::move(silent).Build();
  ScheduleBuilder sends(1, 2, false);
  sends.Send(0, Input(0), 2);
  const Schedule too_short = std::move(sends).Build();
  SeededRandom random(1);
  for (const Schedule* other : {&nothing, &too_short}) {
    Expressions expressions;
    std::vector<SymbolicRank> ranks(2);
    ranks[0].schedule = &waiting;
    ranks[0].inputs.resize(1);
    ranks[0].output.assign(3, Expressions::kUnset);
    ranks[1].schedule = other;
    ranks[1].inputs = {{expressions.Leaf(1, 0, 0), expressions.Leaf(1, 0, 1)}};
    EXPECT_EQ(RunSymbolically(ranks, expressions, random).code(), StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace closeranks::collectives
