#include "elastic/event_writer.h"

#include <memory>
#include <vector>

#include "base/simulated_files.h"
#include "gtest/gtest.h"
#include "telemetry/records.h"
#include "telemetry/report/event_reader.h"

namespace closeranks::elastic {
namespace {

using Members = std::vector<int32_t>;

constexpr TimePoint kDetected{std::chrono::seconds(7)};

// What one process wrote of the worlds that it came into.
class EventWriterTest : public testing::Test {
 protected:
  // A world of the processes `ranks`, of which this one is `rank`, and which resumed from `step`.
  void Enter(Generation generation, int rank, std::vector<MemberProcess> ranks, StepNumber step) {
    auto decision = std::make_shared<rendezvous::Decision>();
    decision->resume.applied = step;
    ConnectedWorld world;
    world.decision = decision;
    world.world = {generation, std::move(ranks)};
    world.rank = rank;
    world.detected = kDetected;
    writer_.OnWorld(world, {.resumed_from = step});
  }
  std::vector<telemetry::WorldEvent> Written() {
    auto events = telemetry::ReadEvents(files_, "folder");
    std::vector<telemetry::WorldEvent> worlds;
    for (const auto& timed : events->workers.at(0).worlds) worlds.push_back(timed.event);
    return worlds;
  }

  const MemberProcess zero_{0, {0, 10}}, one_{1, {0, 11}}, two_{2, {0, 12}}, next_one_{1, {0, 13}};

 private:
  SimulatedFiles files_;
  SystemClock clock_;
  Status made_ = files_.MakeFolder("folder");
  std::unique_ptr<telemetry::EventLog> log_ =
      telemetry::EventLog::Open(files_, telemetry::WorkerEventsPath("folder", zero_), clock_)
          .value();
  EventWriter writer_{*log_};
};

TEST_F(EventWriterTest, InTheFirstWorldOfARunNobodyJoined) {
  Enter(1, 0, {zero_, one_}, 0);
  ASSERT_EQ(Written().size(), 1u);
  EXPECT_EQ(Written()[0].members, (Members{0, 1}));
  EXPECT_EQ(Written()[0].joined_members, Members{});
}

TEST_F(EventWriterTest, WhoEntersARunningJobKnowsOnlyOfItselfThatItIsNew) {
  Enter(5, 1, {zero_, two_}, 8);
  EXPECT_EQ(Written()[0].resume_step, 8u);
  EXPECT_EQ(Written()[0].joined_members, Members{2});
  EXPECT_EQ(Written()[0].lost, Members{});
}

TEST_F(EventWriterTest, WhoIsGoneAndWhoIsNewIsSoByProcess) {
  Enter(1, 0, {zero_, one_, two_}, 0);
  Enter(2, 0, {zero_, next_one_}, 4);
  const telemetry::WorldEvent second = Written()[1];
  EXPECT_EQ(second.lost, (Members{1, 2}));
  EXPECT_EQ(second.lost_members, (Members{1, 2}));
  EXPECT_EQ(second.joined_members, Members{1});
  EXPECT_EQ(second.t_detected, kDetected);
}

TEST_F(EventWriterTest, WhereNobodyIsGoneNoLossWasDetected) {
  Enter(1, 0, {zero_}, 0);
  Enter(2, 0, {zero_, one_}, 4);
  EXPECT_EQ(Written()[1].joined_members, Members{1});
  EXPECT_EQ(Written()[1].t_detected, TimePoint{});
}

}  // namespace
}  // namespace closeranks::elastic
