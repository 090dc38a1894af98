#include "rendezvous/decision.h"

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

Decision MakeDecision(int members) {
  SeededRandom random(7);
  Decision decision;
  decision.lineage = Incarnation::Draw(random);
  decision.generation = 4;
  for (MemberId member = 0; member < members; ++member) {
    decision.members.push_back(
        {member, Incarnation::Draw(random), Incarnation::Draw(random), "card", 1});
  }
  AssignWeights(decision.members);
  decision.history = {{0, 0, 10}, {1, 20, 11}, {3, 30, 12}};
  decision.resume = {30, 3, 12};
  decision.floor = 25;
  return decision;
}

TEST(Decision, AnyTwoQuorumsShareAMember) {
  for (int members = 1; members <= 9; ++members) {
    const Decision decision = MakeDecision(members);
    auto is_quorum = [&](unsigned set) {
      return decision.IsQuorum(
          [set](const ListedMember& listed) { return (set >> listed.member & 1) != 0; });
    };
    const unsigned all = (1u << members) - 1;
    for (unsigned set = 0; set <= all; ++set) {
      EXPECT_NE(is_quorum(set), is_quorum(all & ~set)) << members << " members, set " << set;
    }
  }
}

TEST(Decision, OfTwoTheLowerDecidesAlone) {
  const Decision two = MakeDecision(2);
  EXPECT_TRUE(two.IsQuorum([](const ListedMember& listed) { return listed.member == 0; }));
  EXPECT_FALSE(two.IsQuorum([](const ListedMember& listed) { return listed.member == 1; }));
}

TEST(Decision, AnOldStepOfTheSameNumberIsNotOnTheLine) {
  const Decision decision = MakeDecision(3);
  EXPECT_TRUE(decision.OnLine({30, 3, 12}));
  EXPECT_FALSE(decision.OnLine({30, 3, 13})) << "another hash";
  EXPECT_FALSE(decision.OnLine({30, 2, 12})) << "reduced in another generation";
  EXPECT_TRUE(decision.OnLine({25, 3, 99})) << "inside a segment the generation tells";
  EXPECT_FALSE(decision.OnLine({25, 2, 99}));
  EXPECT_TRUE(decision.OnLine({15, 1, 99}));
  EXPECT_TRUE(decision.OnLine({0, 0, 10}));
  EXPECT_TRUE(decision.OnLine({31, 4, 99})) << "reduced by the generation itself";
  EXPECT_FALSE(decision.OnLine({31, 3, 99}));
}

TEST(Decision, WhatLiesBeforeTheFirstPointOfTheHistoryIsNotOnTheLine) {
  Decision decision = MakeDecision(3);
  decision.history.erase(decision.history.begin());
  EXPECT_TRUE(decision.OnLine({20, 1, 11}));
  EXPECT_FALSE(decision.OnLine({19, 1, 11}));
}

TEST(Decision, WhoIsBehindTheFloorOrAheadOfTheResumeStepNeedsATransfer) {
  const Decision decision = MakeDecision(3);
  EXPECT_EQ(decision.NeededBy(WorkerState{30, 3, 12}), CatchUp::kNothing);
  EXPECT_EQ(decision.NeededBy(WorkerState{25, 3, 99}), CatchUp::kMissingSteps);
  EXPECT_EQ(decision.NeededBy(WorkerState{24, 3, 99}), CatchUp::kTransfer);
  EXPECT_EQ(decision.NeededBy(WorkerState{31, 3, 99}), CatchUp::kTransfer);
  EXPECT_EQ(decision.NeededBy(std::nullopt), CatchUp::kTransfer);
}

TEST(Decision, WhoHasNoWorkerVotesAndHasNoRank) {
  Decision decision = MakeDecision(3);
  decision.members[1].worker = {};
  EXPECT_EQ(decision.world().size(), 2);
  EXPECT_EQ(decision.world().RankOf(2), 1);
  EXPECT_EQ(decision.TotalWeight(), 3);
}

TEST(Decision, ContradictionsAreNamed) {
  EXPECT_TRUE(MakeDecision(3).Validate().ok());
  auto broken = [](auto change) {
    Decision decision = MakeDecision(4);
    change(decision);
    return !decision.Validate().ok();
  };
  EXPECT_TRUE(broken([](Decision& d) { d.members[3].weight = 2; }));
  EXPECT_TRUE(broken([](Decision& d) { std::swap(d.members[0], d.members[1]); }));
  EXPECT_TRUE(broken([](Decision& d) { d.members.clear(); }));
  EXPECT_TRUE(broken([](Decision& d) { d.floor = 31; }));
  EXPECT_TRUE(broken([](Decision& d) { d.resume.hash = 1; }));
  EXPECT_TRUE(broken([](Decision& d) { d.history.back().generation = 4; }));
  EXPECT_TRUE(broken([](Decision& d) { d.displaced.push_back({1, d.members[1].worker}); }));
  EXPECT_TRUE(broken([](Decision& d) { d.lineage = {}; }));
}

TEST(Decision, SurvivesTheWire) {
  Decision decision = MakeDecision(4);
  decision.displaced = {{3, {1, 2}}};
  decision.absent = {{5, {3, 4}, {5, 6}}};
  decision.end = JobEnd::kDone;
  ByteWriter writer;
  Encode(decision, writer);
  const std::string bytes = writer.bytes();
  ByteReader reader(bytes);
  EXPECT_EQ(DecodeDecision(reader), decision);
  EXPECT_TRUE(reader.AtEnd());
}

}  // namespace
}  // namespace closeranks::rendezvous
