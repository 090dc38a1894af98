#include "telemetry/report/flight_explanation.h"

#include <chrono>
#include <memory>

#include "gtest/gtest.h"

namespace closeranks::telemetry {
namespace {

using std::chrono::seconds;
using testing::Test;

std::string NameOf(const std::array<uint64_t, 2>& fingerprint) {
  return "operation of kind " + std::to_string(fingerprint[0]);
}

// Ranks 0, 1 and 2, which are members 0, 1 and 3, in generation 2.
class FlightExplanationTest : public Test {
 protected:
  FlightExplanationTest() {
    clock_.Advance(seconds(100));
    for (const MemberProcess& process : world_.ranks) {
      recorders_.push_back(std::make_unique<FlightRecorder>(clock_, process.incarnation));
      recorders_.back()->SetMember(process.member);
    }
  }

  void EnterAll() {
    for (int rank = 0; rank < 3; ++rank) recorders_[rank]->EnterWorld(world_, rank);
  }
  uint64_t Begin(int rank, uint64_t sequence) {
    return recorders_[rank]->Begin(2, sequence, {5, 0}, 2048, clock_.Now());
  }
  void Run(uint64_t sequence) {
    for (int rank = 0; rank < 3; ++rank) recorders_[rank]->End(Begin(rank, sequence), OkStatus());
  }
  std::string Explain(const std::vector<int>& ranks) {
    std::vector<FlightRecord> records;
    for (int rank : ranks) records.push_back(*ReadFlightRecord(recorders_[rank]->Copy()));
    return ExplainFlight(records, exits_, NameOf);
  }
  // The rank's worker is killed now.
  void Lose(int rank) {
    WorkerExitEvent exit;
    exit.member = world_.ranks[rank].member;
    exit.incarnation = world_.ranks[rank].incarnation.ToString();
    exit.signal = 9;
    exit.cause = "was killed by signal 9 (Killed) in step 7";
    exit.t_lost = clock_.Now();
    exits_.push_back(exit);
  }

  ManualClock clock_;
  const World world_{2, {{0, {1, 1}}, {1, {1, 2}}, {3, {1, 3}}}};
  std::vector<std::unique_ptr<FlightRecorder>> recorders_;
  std::vector<WorkerExitEvent> exits_;
};

TEST_F(FlightExplanationTest, NamesTheRankThatHasNotBegunAndWhoWaitsForIt) {
  EnterAll();
  Run(0);
  Run(1);
  recorders_[2]->SetActivity(Activity::kComputing, 7);
  clock_.Advance(seconds(2));
  Begin(0, 2);
  clock_.Advance(seconds(3));
  Begin(1, 2);
  clock_.Advance(seconds(1));
  EXPECT_EQ(Explain({0, 1, 2}),
            "Generation 2 has 3 ranks. Operation 2 (operation of kind 5, 2.0 KiB) isn't through. "
            "It lacks rank 2 (member 3), which hasn't begun it: it computes, in step 7, since "
            "6.00 s; the newest that it has begun is 1. Ranks 0 and 1 wait for it, since 4.00 s.");
}

TEST_F(FlightExplanationTest, WithoutARecordOfARankThatIsSaid) {
  EnterAll();
  Run(0);
  Begin(0, 1);
  Begin(1, 1);
  const std::string text = Explain({0, 1});
  EXPECT_NE(text.find("It lacks rank 2 (member 3), of which there is no record."),
            std::string::npos)
      << text;
}

TEST_F(FlightExplanationTest, NamesTheRankThatIsStillInAnotherWorld) {
  recorders_[0]->EnterWorld(world_, 0);
  recorders_[1]->EnterWorld(world_, 1);
  recorders_[2]->SetActivity(Activity::kBetween, 7);
  Begin(0, 0);
  clock_.Advance(seconds(9));
  const std::string text = Explain({0, 1, 2});
  EXPECT_NE(text.find("It lacks rank 1 (member 1), which hasn't begun it: it starts"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("It lacks rank 2 (member 3), which isn't in this generation yet: it is "
                      "between two steps, in the program's own code, in step 7, since 9.00 s."),
            std::string::npos)
      << text;
}

TEST_F(FlightExplanationTest, WhereAllHaveBegunTheLastOneIsNamed) {
  EnterAll();
  Begin(0, 0);
  Begin(2, 0);
  clock_.Advance(seconds(3));
  Begin(1, 0);
  clock_.Advance(seconds(1));
  const std::string text = Explain({0, 1, 2});
  EXPECT_NE(text.find("Ranks 0, 1 and 2 wait for it, since 4.00 s; rank 1 (member 1) has begun it "
                      "last, since 1.00 s."),
            std::string::npos)
      << text;
}

TEST_F(FlightExplanationTest, TellsWhomAnOperationEndedFor) {
  EnterAll();
  const uint64_t begun = Begin(0, 0);
  clock_.Advance(seconds(2));
  recorders_[0]->End(begun, PeerLost("gone").WithSuspectedRank(2));
  const std::string text = Explain({0, 1});
  EXPECT_NE(text.find("On rank 0 (member 0) it ended with kPeerLost, because of rank 2, 2.00 s "
                      "after its begin."),
            std::string::npos)
      << text;
}

TEST_F(FlightExplanationTest, OneThatWasLostWithinTheOperationIsWhatIsWrongWithIt) {
  EnterAll();
  recorders_[1]->SetActivity(Activity::kReducing, 7);
  Begin(0, 0);
  Begin(1, 0);
  const uint64_t begun = Begin(2, 0);
  clock_.Advance(seconds(2));
  Lose(1);
  recorders_[2]->End(begun, PeerLost("gone").WithSuspectedRank(1));
  EXPECT_EQ(
      Explain({0, 1, 2}),
      "Generation 2 has 3 ranks. Operation 0 (operation of kind 5, 2.0 KiB) isn't through. It "
      "lost rank 1 (member 1), which had begun it: its worker was killed by signal 9 (Killed) "
      "in step 7; what it did last: it waits for the reduction, in step 7, since 2.00 s. Rank "
      "0 waits for it, since 2.00 s. On rank 2 (member 3) it ended with kPeerLost, because of "
      "rank 1, 2.00 s after its begin.");
  // Another host's ranks, whose records nobody has.
  EXPECT_EQ(
      Explain({1}),
      "Generation 2 has 3 ranks. Operation 0 (operation of kind 5, 2.0 KiB) isn't through. It "
      "lost rank 1 (member 1), which had begun it: its worker was killed by signal 9 (Killed) "
      "in step 7; what it did last: it waits for the reduction, in step 7, since 2.00 s. Ranks "
      "0 and 2 have no record of this generation.");
}

TEST_F(FlightExplanationTest, WhomSomebodyFoundLostIsMissedAndNobodyElseForWantOfARecord) {
  EnterAll();
  recorders_[0]->End(Begin(0, 0), PeerLost("gone").WithSuspectedRank(2));
  const std::string text = Explain({0});
  EXPECT_NE(text.find("It lacks rank 2 (member 3), of which there is no record. Rank 1 has no "
                      "record of this generation."),
            std::string::npos)
      << text;
}

TEST_F(FlightExplanationTest, WhoEndedAfterItsRecordWasTakenOrWasToldToIsNotLost) {
  EnterAll();
  Begin(0, 0);
  Begin(1, 0);
  const std::string before = Explain({0, 1, 2});
  Lose(0);
  exits_.back().cause = "";
  EXPECT_EQ(Explain({0, 1, 2}), before);
  exits_.clear();
  std::vector<FlightRecord> records;
  for (const auto& recorder : recorders_) records.push_back(*ReadFlightRecord(recorder->Copy()));
  clock_.Advance(seconds(1));
  Lose(1);
  EXPECT_EQ(ExplainFlight(records, exits_, NameOf), before);
}

TEST_F(FlightExplanationTest, WhoWasLostFromTheWorldBeforeIsNamedToo) {
  EnterAll();
  recorders_[1]->SetActivity(Activity::kComputing, 7);
  Lose(1);
  const World next{3, {world_.ranks[0], world_.ranks[2]}};
  recorders_[0]->EnterWorld(next, 0);
  recorders_[2]->EnterWorld(next, 1);
  const std::string text = Explain({0, 1, 2});
  EXPECT_EQ(text.find("Generation 3 has 2 ranks."), 0u) << text;
  EXPECT_NE(text.find("Generation 2 lost rank 1 (member 1): its worker was killed by signal 9 "
                      "(Killed) in step 7; what it did last: it computes, in step 7, since 0"),
            std::string::npos)
      << text;
}

TEST_F(FlightExplanationTest, WithNothingUnderWayItSaysWhatEachDoes) {
  EnterAll();
  Run(0);
  recorders_[1]->SetActivity(Activity::kApplying, 3);
  const std::string text = Explain({0, 1});
  EXPECT_NE(text.find("No operation of it is under way."), std::string::npos) << text;
  EXPECT_NE(text.find("rank 1 (member 1): it applies the update, in step 3, since"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("rank 2 (member 3): there is no record of it."), std::string::npos) << text;
  Lose(1);
  EXPECT_NE(Explain({0, 1}).find("rank 1 (member 1) is lost: its worker was killed by signal 9"),
            std::string::npos);
}

TEST_F(FlightExplanationTest, OfSeveralProcessesOfAMemberTheOneInTheWorldCounts) {
  EnterAll();
  FlightRecorder successor(clock_, {9, 9});
  successor.SetMember(3);
  Begin(0, 0);
  Begin(1, 0);
  Begin(2, 0);
  clock_.Advance(seconds(1));
  std::vector<FlightRecord> records;
  for (const auto& recorder : recorders_) records.push_back(*ReadFlightRecord(recorder->Copy()));
  records.push_back(*ReadFlightRecord(successor.Copy()));
  EXPECT_EQ(ExplainFlight(records, {}, NameOf).find("It lacks"), std::string::npos);
}

}  // namespace
}  // namespace closeranks::telemetry
