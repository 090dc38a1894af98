#include "elastic/step_gate.h"

#include <thread>
#include <vector>

#include "collectives/simulated_world.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

using rendezvous::WorkerState;

class StepGateTest : public testing::Test {
 protected:
  // A world of one, of this generation.
  std::shared_ptr<ConnectedWorld> MakeWorld(Generation generation) {
    auto world = std::make_shared<ConnectedWorld>();
    world->world.generation = generation;
    world->world.ranks = {{0, {1, 1}}};
    world->rank = 0;
    world->communicator = simulated_.MakeCommunicator(0, generation);
    return world;
  }
  StepGate::Frozen Collect() {
    return [this](WorkerState state) { answers_.push_back(state.applied); };
  }

  SimulatedWorld simulated_{1, 1};
  StepGate gate_{WorkerState{}, std::make_unique<SystemCondition>()};
  std::vector<StepNumber> answers_;
};

TEST_F(StepGateTest, ShutBetweenUpdatesAnswersAtOnce) {
  auto world = MakeWorld(1);
  gate_.Open(world);
  gate_.Shut(StaleGeneration("new"), Collect());
  EXPECT_EQ(answers_, (std::vector<StepNumber>{0}));
  EXPECT_EQ(world->communicator->health().code(), StatusCode::kStaleGeneration);
}

TEST_F(StepGateTest, ShutDuringAnUpdateAnswersAtItsEnd) {
  gate_.Open(MakeWorld(1));
  ASSERT_TRUE(gate_.BeginApply(1));
  gate_.Shut(StaleGeneration("new"), Collect());
  EXPECT_TRUE(answers_.empty());
  gate_.EndApply({1, 1, 99});
  EXPECT_EQ(answers_, (std::vector<StepNumber>{1}));
  EXPECT_EQ(gate_.state(), (WorkerState{1, 1, 99}));
}

TEST_F(StepGateTest, OnlyTheLastOfSeveralShutsDuringAnUpdateIsAnswered) {
  gate_.Open(MakeWorld(1));
  ASSERT_TRUE(gate_.BeginApply(1));
  gate_.Shut(StaleGeneration("new"), [](WorkerState) { ADD_FAILURE() << "it was replaced"; });
  gate_.Shut(StaleGeneration("newer"), Collect());
  gate_.EndApply({1, 1, 99});
  EXPECT_EQ(answers_, (std::vector<StepNumber>{1}));
}

TEST_F(StepGateTest, NothingIsAppliedAfterShutNorInAnotherWorld) {
  EXPECT_FALSE(gate_.BeginApply(1));
  gate_.Open(MakeWorld(1));
  gate_.Shut(StaleGeneration("new"), Collect());
  EXPECT_FALSE(gate_.BeginApply(1));
  gate_.Open(MakeWorld(2));
  EXPECT_FALSE(gate_.BeginApply(1));
  EXPECT_TRUE(gate_.BeginApply(2));
  gate_.EndApply({1, 2, 3});
}

TEST_F(StepGateTest, OpenWakesWhoWaitsForAnotherWorld) {
  gate_.Open(MakeWorld(1));
  Generation seen = 0;
  std::thread waiter([&] { seen = (*gate_.AwaitOtherThan(1))->world.generation; });
  gate_.Open(MakeWorld(2));
  waiter.join();
  EXPECT_EQ(seen, 2u);
}

TEST_F(StepGateTest, WhatOpensAfterTheEndIsntKept) {
  auto world = MakeWorld(1);
  std::weak_ptr<ConnectedWorld> first = world;
  gate_.Open(std::move(world));
  gate_.End(Aborted("the worker ends"));
  EXPECT_TRUE(first.expired());
  auto late = MakeWorld(2);
  std::weak_ptr<ConnectedWorld> second = late;
  gate_.Open(std::move(late));
  EXPECT_TRUE(second.expired());
  EXPECT_FALSE(gate_.BeginApply(2));
}

TEST_F(StepGateTest, EndWakesTheWaiterWithItsReason) {
  Status why;
  std::thread waiter([&] { why = gate_.Await().status(); });
  gate_.End(Timeout("quorum lost"));
  waiter.join();
  EXPECT_EQ(why.code(), StatusCode::kTimeout);
}

TEST_F(StepGateTest, AfterAGoodEndThereIsNoWorldAnyMore) {
  auto world = MakeWorld(1);
  gate_.Open(world);
  gate_.End(OkStatus());
  EXPECT_EQ(*gate_.Await(), nullptr);
  EXPECT_FALSE(world->communicator->health().ok());
  // What was still being connected.
  gate_.Open(MakeWorld(2));
  EXPECT_EQ(*gate_.Await(), nullptr);
  EXPECT_FALSE(gate_.BeginApply(2));
  // The first end counts.
  gate_.End(Timeout("late"));
  EXPECT_TRUE(gate_.Await().ok());
}

}  // namespace
}  // namespace closeranks::elastic
