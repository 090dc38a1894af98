#include "rendezvous/membership_value.h"

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

Incarnation Supervisor(MemberId member) { return {1, static_cast<uint64_t>(member) + 1}; }
Incarnation WorkerOf(MemberId member) { return {2, static_cast<uint64_t>(member) + 1}; }

// Generation 5 of `members`, resumed at step 10.
Decision Base(int members) {
  Decision base;
  base.lineage = {9, 9};
  base.generation = 5;
  for (MemberId member = 0; member < members; ++member) {
    base.members.push_back({member, Supervisor(member), WorkerOf(member), "", 1});
  }
  AssignWeights(base.members);
  base.history = {{0, 0, 1}, {4, 10, 2}};
  base.resume = {10, 4, 2};
  base.floor = 8;
  return base;
}

Answer AnswerOf(MemberId member, std::optional<WorkerState> state) {
  Answer answer;
  answer.from = {member, Supervisor(member)};
  answer.promise.agent.worker = WorkerOf(member);
  answer.promise.state = state;
  return answer;
}

WorkerState At(StepNumber step) {
  return step > 10 ? WorkerState{step, 5, 100 + step} : WorkerState{step, 4, step == 10 ? 2u : 0u};
}

void Disconnect(Answer& a, Answer& b) {
  a.promise.agent.lacks.push_back(b.from.member);
  b.promise.agent.lacks.push_back(a.from.member);
}

TEST(NextValue, ResumesAtTheGreatestStepAndKeepsTheLeastAsFloor) {
  const Choice choice =
      NextValue(Base(3), {AnswerOf(0, At(12)), AnswerOf(1, At(13)), AnswerOf(2, At(9))});
  ASSERT_NE(choice.value, nullptr);
  EXPECT_EQ(choice.value->resume, At(13));
  EXPECT_EQ(choice.value->floor, 9u);
  EXPECT_EQ(choice.value->history.back(), (Segment{5, 13, 113}));
}

TEST(NextValue, ListsOnlyWhoAnswered) {
  const Choice choice = NextValue(Base(3), {AnswerOf(0, At(12)), AnswerOf(2, At(12))});
  EXPECT_EQ(choice.value->world().size(), 2);
  EXPECT_EQ(choice.value->absent.size(), 1u);
}

TEST(NextValue, WhoIsOffTheLineOrBelowTheFloorDoesNotCountAsAHolder) {
  const Choice choice = NextValue(
      Base(4), {AnswerOf(0, At(11)), AnswerOf(1, WorkerState{20, 3, 7}), AnswerOf(2, At(7))});
  EXPECT_EQ(choice.value->resume, At(11));
  EXPECT_EQ(choice.value->floor, 11u);
  EXPECT_EQ(choice.value->world().size(), 3) << "they are listed, and get a transfer";
}

TEST(NextValue, AJoinerDoesNotCountAsAHolderWhateverItHas) {
  const Choice choice = NextValue(Base(2), {AnswerOf(0, At(11)), AnswerOf(5, At(12))});
  EXPECT_EQ(choice.value->resume, At(11));
  EXPECT_EQ(NextValue(Base(2), {AnswerOf(5, At(12))}).value, nullptr);
}

TEST(NextValue, WithoutAHolderThereIsNone) {
  Answer restarted = AnswerOf(0, At(12));
  restarted.promise.agent.worker = {7, 7};
  const Choice choice = NextValue(Base(3), {restarted, AnswerOf(1, std::nullopt)});
  EXPECT_EQ(choice.value, nullptr) << "the third may have it";
  EXPECT_TRUE(choice.hold_reason.ends_with("bring back member 2")) << choice.hold_reason;
}

TEST(NextValue, WhenNoneOfAllTheVotersHasAHolderTheJobEnds) {
  const Decision base = Base(2);
  Answer restarted = AnswerOf(0, At(12));
  restarted.promise.agent.worker = {7, 7};
  const Choice choice = NextValue(base, {restarted, AnswerOf(1, std::nullopt)});
  ASSERT_NE(choice.value, nullptr);
  EXPECT_EQ(choice.value->end, JobEnd::kStateLost);
  EXPECT_EQ(choice.value->generation, base.generation + 1);
  EXPECT_TRUE(choice.value->Validate().ok());
  Answer successor = AnswerOf(1, std::nullopt);
  successor.from.incarnation = {1, 77};
  EXPECT_EQ(NextValue(base, {restarted, successor}).value, nullptr) << "it says nothing of the old";
}

Answer StarterOf(MemberId member, const std::string& configuration) {
  Answer answer = AnswerOf(member, WorkerState{});
  answer.promise.terms = {"build", "kernels", configuration};
  return answer;
}

TEST(NextValue, OfTwoProcessesOfOneMemberTheUnlistedOneIsNewerAndDisplacesTheOther) {
  const Decision base = Base(3);
  Answer older = AnswerOf(1, At(13)), newer = AnswerOf(1, std::nullopt);
  newer.from.incarnation = {1, 77};
  newer.promise.agent.worker = {2, 77};
  const Choice choice = NextValue(base, {AnswerOf(0, At(12)), older, newer, AnswerOf(2, At(12))});
  ASSERT_NE(choice.value, nullptr);
  EXPECT_EQ(choice.value->Find(1)->supervisor, newer.from.incarnation);
  EXPECT_TRUE(choice.value->IsDisplaced(older.from));
  EXPECT_EQ(choice.value->resume, At(12)) << "what only the displaced one had applied";

  const Choice alone = NextValue(base, {older, newer});
  ASSERT_NE(alone.value, nullptr);
  EXPECT_EQ(alone.value->Find(1)->supervisor, older.from.incarnation)
      << "nobody else has the history";

  // The other one was voted out meanwhile, and is back.
  Decision without = Base(3);
  without.absent.push_back({1, older.from.incarnation, older.promise.agent.worker});
  std::erase_if(without.members, [](const ListedMember& listed) { return listed.member == 1; });
  const Choice back = NextValue(without, {AnswerOf(0, At(12)), older, newer, AnswerOf(2, At(12))});
  ASSERT_NE(back.value, nullptr);
  EXPECT_EQ(back.value->Find(1)->supervisor, newer.from.incarnation);
  EXPECT_TRUE(back.value->IsDisplaced(older.from));
}

TEST(NextValue, OfTwoProcessesThatWereNeverListedTheLaterGetsInAndDisplacesTheOther) {
  const Decision base = Base(2);
  Answer older = AnswerOf(2, WorkerState{}), newer = AnswerOf(2, std::nullopt);
  older.promise.started = std::chrono::seconds(1);
  newer.promise.started = std::chrono::seconds(2);
  newer.from.incarnation = {1, 77};
  newer.promise.agent.worker = {2, 77};
  for (const auto& [first, second] : {std::pair(older, newer), std::pair(newer, older)}) {
    const Choice choice =
        NextValue(base, {AnswerOf(0, At(12)), AnswerOf(1, At(12)), first, second});
    ASSERT_NE(choice.value, nullptr);
    EXPECT_EQ(choice.value->Find(2)->supervisor, newer.from.incarnation);
    EXPECT_TRUE(choice.value->IsDisplaced(older.from));
  }
}

TEST(NextValue, AnOlderProcessThatCallsAfterTheNewerOneWasListedDoesNotReplaceIt) {
  Answer older = AnswerOf(1, std::nullopt), newer = AnswerOf(1, At(12));
  older.from.incarnation = {1, 77};
  older.promise.started = std::chrono::seconds(1);
  newer.promise.started = std::chrono::seconds(2);
  const Choice choice = NextValue(Base(2), {AnswerOf(0, At(12)), newer, older});
  ASSERT_NE(choice.value, nullptr);
  EXPECT_EQ(choice.value->Find(1)->supervisor, newer.from.incarnation);
  EXPECT_TRUE(choice.value->IsDisplaced(older.from));
}

TEST(NextValue, WhereAllHaveASuccessorAllButOneAreReplaced) {
  std::vector<Answer> answers;
  for (MemberId member = 0; member < 3; ++member) {
    answers.push_back(AnswerOf(member, At(12)));
    Answer newer = AnswerOf(member, std::nullopt);
    newer.from.incarnation = {1, 70 + static_cast<uint64_t>(member)};
    newer.promise.agent.worker = {2, 70 + static_cast<uint64_t>(member)};
    answers.push_back(newer);
  }
  const Choice first = NextValue(Base(3), answers);
  ASSERT_NE(first.value, nullptr);
  EXPECT_EQ(first.value->Find(0)->supervisor, Supervisor(0));
  for (MemberId member : {1, 2}) {
    EXPECT_EQ(first.value->Find(member)->supervisor, answers[2 * member + 1].from.incarnation);
  }
  // Then those have it.
  const WorkerState later = {13, first.value->generation, 500};
  answers = {AnswerOf(0, later), answers[1], answers[3], answers[5]};
  answers[2].promise.state = answers[3].promise.state = later;
  const Choice second = NextValue(*first.value, answers);
  ASSERT_NE(second.value, nullptr);
  EXPECT_EQ(second.value->Find(0)->supervisor, answers[1].from.incarnation);
  EXPECT_EQ(second.value->resume, later);
}

TEST(NextValue, WhoWaitsToReplaceAListedOneIsNotDisplaced) {
  Answer older = AnswerOf(0, At(12)), newer = AnswerOf(0, std::nullopt);
  newer.from.incarnation = {1, 77};
  const Choice choice = NextValue(Base(1), {older, newer});
  ASSERT_NE(choice.value, nullptr);
  EXPECT_EQ(choice.value->Find(0)->supervisor, older.from.incarnation);
  EXPECT_FALSE(choice.value->IsDisplaced(newer.from));
}

TEST(FirstValue, WorkersThatDifferAreTheEndAndBothAreNamed) {
  const Choice choice =
      FirstValue({StarterOf(0, "x=1"), StarterOf(1, "x=1"), StarterOf(2, "x=2")}, {9, 9});
  ASSERT_NE(choice.value, nullptr);
  EXPECT_EQ(choice.value->end, JobEnd::kMismatch);
  EXPECT_EQ(choice.value->mismatch,
            "configuration differs: member 0 has 'x=1', member 2 has 'x=2'");
  const Choice alike = FirstValue({StarterOf(0, "x=1"), StarterOf(1, "x=1")}, {9, 9});
  EXPECT_FALSE(alike.value->job_ended());
}

TEST(ObligedValue, AStartThatEndsInAMismatchBindsOnlyThoseWhoAreAllListedInIt) {
  Answer zero = StarterOf(0, "x=1"), one = StarterOf(1, "x=2");
  const DecisionRef ended = FirstValue({zero, one}, {9, 9}).value;
  zero.promise.accepted = AcceptedValue{{1, 0, Supervisor(0)}, ended};
  EXPECT_EQ(ObligedValue({zero, one}), ended);
  Answer successor = StarterOf(1, "x=1");
  successor.from.incarnation = {1, 77};
  EXPECT_EQ(ObligedValue({zero, successor}), nullptr);

  const DecisionRef begun = FirstValue({zero, StarterOf(1, "x=1")}, {9, 9}).value;
  zero.promise.accepted->value = begun;
  EXPECT_EQ(ObligedValue({zero, successor}), begun) << "it may have been decided, and trained on";
}

TEST(FirstValue, AWitnessHasNoTermsToDifferIn) {
  Answer witness = StarterOf(0, "");
  witness.promise.agent.worker = {};
  witness.promise.agent.witness = true;
  EXPECT_FALSE(FirstValue({witness, StarterOf(1, "x=1")}, {9, 9}).value->job_ended());
}

TEST(NextValue, WhoDiffersEndsTheJobOnlyAsLongAsNothingWasTrained) {
  for (bool trained : {false, true}) {
    Decision base = Base(2);
    if (!trained) {
      base.history = {{0, 0, 0}};
      base.resume = {};
      base.floor = 0;
    }
    Answer there = StarterOf(0, "x=1"), successor = StarterOf(1, "x=2");
    there.promise.state = base.resume;
    successor.promise.agent.worker = {2, 77};
    const Choice choice = NextValue(base, {there, successor});
    ASSERT_NE(choice.value, nullptr);
    EXPECT_EQ(choice.value->end, trained ? JobEnd::kNone : JobEnd::kMismatch);
  }
}

TEST(NextValue, GoingBackCutsTheHistory) {
  Decision base = Base(2);
  const Choice choice = NextValue(base, {AnswerOf(1, At(9))});
  EXPECT_EQ(choice.value->resume, At(9));
  EXPECT_EQ(choice.value->history.back(), (Segment{4, 9, 0}));
  EXPECT_FALSE(choice.value->OnLine(base.resume)) << "what only the dead had never happened";
}

TEST(NextValue, ASuccessorDisplacesEvenAcrossAGenerationWithoutTheMember) {
  Decision base = Base(3);
  base.members.pop_back();
  AssignWeights(base.members);
  base.absent.push_back({2, Supervisor(2), WorkerOf(2)});
  Answer successor = AnswerOf(2, std::nullopt);
  successor.from.incarnation = {1, 77};
  successor.promise.agent.worker = {2, 77};
  const Choice choice = NextValue(base, {AnswerOf(0, At(11)), successor});
  EXPECT_TRUE(choice.value->IsDisplaced({2, Supervisor(2)}));
  EXPECT_TRUE(choice.value->IsDisplaced({2, WorkerOf(2)}));
  EXPECT_EQ(NextValue(*choice.value, {AnswerOf(2, At(11))}).value, nullptr);
}

TEST(NextValue, ALeaverIsVotedOutUnlessItHasTheOnlyHistory) {
  Answer leaver = AnswerOf(0, At(11));
  leaver.promise.agent.leaving = true;
  EXPECT_EQ(NextValue(Base(2), {leaver, AnswerOf(1, At(11))}).value->Find(0), nullptr);
  const Choice handing_over = NextValue(Base(2), {leaver, AnswerOf(1, std::nullopt)});
  ASSERT_NE(handing_over.value, nullptr);
  EXPECT_NE(handing_over.value->Find(0), nullptr);
}

TEST(NextValue, WhenEverybodyLeavesTheJobEnds) {
  Answer a = AnswerOf(0, At(11)), b = AnswerOf(1, At(11));
  a.promise.agent.leaving = b.promise.agent.leaving = true;
  EXPECT_EQ(NextValue(Base(2), {a, b}).value->end, JobEnd::kAllLeft);
  a.promise.agent.done = b.promise.agent.done = true;
  EXPECT_EQ(NextValue(Base(2), {a, b}).value->end, JobEnd::kDone);
}

TEST(NextValue, TheJobEndsWhenEveryWorkerThatLivesHasDoneItsLastStep) {
  Answer a = AnswerOf(0, At(11)), b = AnswerOf(1, At(11));
  a.promise.agent.done = true;
  EXPECT_FALSE(NextValue(Base(3), {a, b}).value->job_ended());
  b.promise.agent.done = true;
  EXPECT_TRUE(NextValue(Base(3), {a, b}).value->job_ended());
  EXPECT_TRUE(NextValue(Base(3), {a}).value->job_ended());
}

TEST(NextValue, WithACutLinkTheLargestConnectedSetGoesOn) {
  Answer a = AnswerOf(0, At(11)), b = AnswerOf(1, At(11)), c = AnswerOf(2, At(11));
  Disconnect(b, c);
  EXPECT_EQ(NextValue(Base(3), {a, b, c}).value->Find(2), nullptr) << "a tie: the lowest stay";
  Answer d = AnswerOf(3, At(11));
  Disconnect(b, d);
  const Choice choice = NextValue(Base(4), {a, b, c, d});
  EXPECT_EQ(choice.value->Find(1), nullptr);
  EXPECT_EQ(choice.value->members.size(), 3u);
}

TEST(LargestConnectedSet, AgreesWithTryingEverySet) {
  SeededRandom random(3);
  for (int round = 0; round < 300; ++round) {
    const int count = 1 + static_cast<int>(random.Below(8));
    std::vector<Node> nodes;
    std::vector<std::vector<bool>> connected(count, std::vector<bool>(count, true));
    std::vector<std::pair<int, int>> cuts;
    for (int i = 0; i < count; ++i) {
      nodes.push_back({i, !random.OneIn(4), true, random.OneIn(2)});
      for (int j = 0; j < i; ++j) {
        if (!random.OneIn(3)) continue;
        connected[i][j] = connected[j][i] = false;
        cuts.push_back(random.OneIn(2) ? std::pair(i, j) : std::pair(j, i));
      }
    }
    std::pair<int, int> best{0, 0};
    for (unsigned set = 1; set < (1u << count); ++set) {
      bool fits = true, holds = false;
      std::pair<int, int> score{0, 0};
      for (int i = 0; i < count; ++i) {
        if ((set >> i & 1) == 0) continue;
        for (int j = 0; j < i; ++j) fits &= (set >> j & 1) == 0 || connected[i][j];
        holds |= nodes[i].is_holder;
        score.first += nodes[i].has_worker;
        score.second += 1;
      }
      if (fits && holds) best = std::max(best, score);
    }
    const std::vector<int> found = LargestConnectedSet(nodes, cuts);
    std::pair<int, int> score{0, 0};
    for (int i : found) {
      score.first += nodes[i].has_worker;
      score.second += 1;
      for (int j : found) EXPECT_TRUE(connected[i][j]);
    }
    EXPECT_EQ(score, best) << "round " << round;
  }
}

}  // namespace
}  // namespace closeranks::rendezvous
