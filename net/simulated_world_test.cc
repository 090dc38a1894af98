#include "net/simulated_world.h"

#include <chrono>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/simulated_fabric.h"

namespace closeranks::net {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(SimulatedWorld, HoursPassInAnInstantAndInOrder) {
  SimulatedWorld world(1);
  const TimePoint start = world.Now();
  std::vector<int> order;
  world.RunAfter(hours(2), [&] { order.push_back(3); });
  world.RunAfter(hours(1), [&] {
    order.push_back(1);
    world.RunAfter(Duration::zero(), [&] { order.push_back(2); });
  });
  const TimerId cancelled = world.RunAfter(seconds(1), [&] { order.push_back(0); });
  world.RunAt(kNever, [&] { order.push_back(4); });
  world.Cancel(cancelled);
  while (world.RunOne()) {
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(world.Now() - start, hours(2));
}

TEST(SimulatedWorld, RunsUntilAConditionOrItsLimit) {
  SimulatedWorld world(1);
  const TimePoint start = world.Now();
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    world.RunAfter(seconds(1), tick);
  };
  tick();
  EXPECT_TRUE(world.RunUntilTrue([&] { return ticks == 5; }, seconds(100)));
  EXPECT_EQ(world.Now() - start, seconds(4));
  EXPECT_FALSE(world.RunUntilTrue([&] { return ticks == 500; }, seconds(10)));
  EXPECT_EQ(world.Now() - start, seconds(14));
  world.RunFor(milliseconds(2500));
  EXPECT_EQ(ticks, 17);
}

TEST(SimulatedProcess, AStoppedOneCatchesUpInOrderWhenItGoesOn) {
  SimulatedWorld world(1);
  SimulatedFabric fabric(world);
  SimulatedProcess process(world);
  std::vector<std::string> order;
  TimerId cancelled = kNoTimer;
  process.RunAfter(seconds(1), [&] { order.push_back("first"); });
  process.RunAfter(seconds(2), [&] {
    order.push_back("second");
    process.Cancel(cancelled);
  });
  cancelled = process.RunAfter(seconds(3), [&] { order.push_back("cancelled"); });
  fabric.Stop(process);
  world.RunFor(seconds(10));
  EXPECT_TRUE(order.empty());
  fabric.Continue(process);
  EXPECT_TRUE(order.empty()) << "Continue called back";
  world.RunFor(seconds(1));
  EXPECT_EQ(order, (std::vector<std::string>{"first", "second"}));
}

TEST(SimulatedProcess, ADeadOneRunsNothing) {
  SimulatedWorld world(1);
  SimulatedFabric fabric(world);
  SimulatedProcess process(world);
  int runs = 0;
  process.RunAfter(seconds(1), [&] { ++runs; });
  fabric.Kill(process);
  process.RunAfter(seconds(1), [&] { ++runs; });
  fabric.Continue(process);
  world.RunFor(seconds(10));
  EXPECT_EQ(runs, 0);
}

}  // namespace
}  // namespace closeranks::net
