#include "elastic/checkpoint/checkpointer.h"

#include <set>

#include "elastic/checkpoint/checkpoint_fixture.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

constexpr char kFolder[] = "/checkpoints";

class CheckpointerTest : public testing::Test {
 protected:
  CheckpointWorld World(Checkpointer::Options options) {
    return {files_, kFolder, std::move(options)};
  }
  // Of all whole checkpoints; each is checked.
  std::vector<StepNumber> Steps() {
    std::vector<StepNumber> steps;
    for (const CheckpointName& name : Value(store_.Whole())) {
      auto stored = store_.Read(name);
      EXPECT_TRUE(stored.ok() && IsStateOfItsStep(*stored)) << name.ToString();
      steps.push_back(name.step);
    }
    return steps;
  }

  SimulatedFiles files_;
  CheckpointStore store_{files_, kFolder};
};

TEST_F(CheckpointerTest, IsTakenEverySoManyStepsAndAtTheEnd) {
  CheckpointWorld world = World({.every = 5, .keep = 10});
  ASSERT_TRUE(world.Begin(3).ok());
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{5, 10}));
  ASSERT_TRUE(world.Finish().ok());
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{5, 10, 12}));
}

TEST_F(CheckpointerTest, IsCommittedOnceAllHaveWrittenAndALaterStepTookEffect) {
  CheckpointWorld world = World({.every = 5});
  ASSERT_TRUE(world.Begin(2).ok());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(world.Step().ok());
  world.work(0).DoAll();
  ASSERT_TRUE(world.Step().ok());
  world.work(0).DoAll();
  EXPECT_TRUE(Steps().empty()) << "rank 1 has written nothing";
  world.work(1).DoAll();
  world.work(0).DoAll();
  EXPECT_TRUE(Steps().empty()) << "rank 0 can't know yet";
  ASSERT_TRUE(world.Step().ok());
  world.DoWork();
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{5}));
}

TEST_F(CheckpointerTest, WhatFallsDueMeanwhileIsOneRightAfterwards) {
  CheckpointWorld world = World({.every = 2, .keep = 10});
  ASSERT_TRUE(world.Begin(2).ok());
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(world.Step().ok());
  world.DoWork();  // of step 2
  ASSERT_TRUE(world.Step().ok());
  world.DoWork();
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{2}));
  ASSERT_TRUE(world.Step().ok());
  for (int i = 0; i < 2; ++i) {
    world.DoWork();
    ASSERT_TRUE(world.Step().ok());
  }
  world.DoWork();
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{2, 9}));
}

TEST_F(CheckpointerTest, WhoeverAsksGetsOneOfTheNextStep) {
  bool asked = false;
  CheckpointWorld world = World({.asked = [&] { return std::exchange(asked, false); }});
  ASSERT_TRUE(world.Begin(2).ok());
  for (int i = 0; i < 6; ++i) {
    asked = i == 2;
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{3}));
}

TEST_F(CheckpointerTest, WhoeverAsksWhileTheLastOneIsTakenGetsThatOne) {
  for (int when = 0; when < 8; ++when) {
    SimulatedFiles files;
    int calls = 0;
    bool is_end = false;
    CheckpointWorld world(files, kFolder, {.asked = [&] { return is_end && calls++ == when; }});
    ASSERT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.Step().ok());
    is_end = true;
    ASSERT_TRUE(world.Finish().ok());
    CheckpointStore store(files, kFolder);
    const CheckpointName last{1, 3, 1};
    EXPECT_EQ(*store.Whole(), std::vector<CheckpointName>{last});
    auto stored = store.Read(last);
    EXPECT_TRUE(stored.ok() && IsStateOfItsStep(*stored)) << when << " " << stored.status();
  }
}

TEST_F(CheckpointerTest, ALostRankCostsTheCheckpointAndTheNextStepHasAnother) {
  for (int joiners : {0, 1}) {
    for (int done : {0, 1, 2}) {
      SimulatedFiles files;
      CheckpointStore store(files, kFolder);
      CheckpointWorld world(files, kFolder, {.every = 5});
      ASSERT_TRUE(world.Begin(3).ok());
      for (int i = 0; i < 5; ++i) ASSERT_TRUE(world.Step().ok());
      // Rank 0 is lost before it wrote, when all have, and when it was to commit it.
      for (int i = 0; i < done; ++i) {
        for (int rank = 0; rank < 3; ++rank) world.work(rank).DoOne();
        ASSERT_TRUE(i > 0 || world.Step().ok());
      }
      const bool committed = done == 2;
      EXPECT_EQ(store.Whole()->size(), committed ? 1u : 0u);
      world.Change(2 + joiners, joiners);
      const StepNumber next = world.step() + 1;
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(world.Step().ok());
        world.DoWork();
      }
      EXPECT_EQ(store.Candidates()->front(), (CheckpointName{1, next, 2}));
      for (const CheckpointName& name : Value(store.Whole())) {
        EXPECT_TRUE(IsStateOfItsStep(*store.Read(name)));
      }
      EXPECT_TRUE(store.Torn()->empty()) << "what was left is removed";
    }
  }
}

TEST_F(CheckpointerTest, AFullDiskCostsTheCheckpointAndNothingElse) {
  CheckpointWorld world = World({.every = 5});
  ASSERT_TRUE(world.Begin(2).ok());
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  files_.FailAt(files_.operations() + 3, ResourceExhausted("the disk is full"), 1000);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  EXPECT_FALSE(world.busy());
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{5}));
  files_.FailAt(0, OkStatus());
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{5, 15}));
}

TEST_F(CheckpointerTest, ADiskThatHangsCostsTheCheckpointsUntilItComesBack) {
  for (int done : {0, 1}) {
    SimulatedFiles files;
    CheckpointStore store(files, kFolder);
    CheckpointWorld world(files, kFolder, {.every = 5, .timeout = std::chrono::seconds(20)});
    ASSERT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(world.Step().ok());
    // Rank 0 hangs while it writes its part, or while it commits.
    world.work(1).DoAll();
    if (done == 1) {
      world.work(0).DoAll();
      ASSERT_TRUE(world.Step().ok());
    }
    world.clock().Advance(std::chrono::seconds(19));
    ASSERT_TRUE(world.Step().ok());
    EXPECT_TRUE(world.busy());
    world.clock().Advance(std::chrono::seconds(1));
    ASSERT_TRUE(world.Step().ok());
    EXPECT_FALSE(world.busy());
    // Nothing more is kept for a disk that does nothing, and the others don't wait for it.
    while (world.step() < 12) ASSERT_TRUE(world.Step().ok());
    EXPECT_FALSE(world.busy());
    EXPECT_EQ(world.work(0).size(), 1u);
    world.DoWork();
    while (world.step() < 20) {
      ASSERT_TRUE(world.Step().ok());
      world.DoWork();
    }
    EXPECT_EQ(store.Candidates()->front().step, 15u);
    EXPECT_TRUE(IsStateOfItsStep(*store.Read(store.Candidates()->front())));
  }
}

TEST_F(CheckpointerTest, GoesOnFromTheNewestThatVerifiesWithAnyNumberOfRanks) {
  for (int ranks : {4, 2, 3}) {
    CheckpointWorld world = World({.every = 5, .keep = 3, .run = "seed=1"});
    ASSERT_TRUE(world.Begin(ranks).ok());
    const StepNumber from = world.step();
    EXPECT_EQ(from, ranks == 4 ? 0u : Steps().back());
    for (int i = 0; i < 12; ++i) {
      ASSERT_TRUE(world.Step().ok());
      world.DoWork();
    }
  }
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{20, 25, 30})) << "the others are old";
  // A byte of the newest is another: the one before it is taken.
  const CheckpointName newest = store_.Candidates()->front();
  const std::string shard =
      std::string(kFolder) + "/" + newest.ToString() + "/shard-00001-of-00003.safetensors";
  files_.FlipBit(shard, files_.Read(shard)->size() - 1);
  CheckpointWorld world = World({.run = "seed=1"});
  ASSERT_TRUE(world.Begin(2).ok());
  EXPECT_EQ(world.step(), 25u);
  EXPECT_EQ(world.lineage().step, 25u);
}

TEST_F(CheckpointerTest, ABeginningThatCantBeAsWantedIsRefused) {
  {
    CheckpointWorld world = World({.every = 5, .run = "seed=1"});
    ASSERT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(world.Step().ok());
      world.DoWork();
    }
  }
  Status other = World({.run = "seed=2"}).Begin(2);
  EXPECT_EQ(other.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(other.message().find("its has seed=1, this one has seed=2"), std::string::npos);
  Status none = World({.resume = {Resume::Kind::kStep, 6}, .run = "seed=1"}).Begin(2);
  EXPECT_NE(none.message().find("no checkpoint of step 6"), std::string::npos) << none;
  CheckpointWorld exact = World({.resume = {Resume::Kind::kStep, 5}, .run = "seed=1"});
  ASSERT_TRUE(exact.Begin(2).ok());
  EXPECT_EQ(exact.step(), 5u);
  const std::string shard = std::string(kFolder) + "/" + store_.Whole()->front().ToString() +
                            "/shard-00001-of-00002.safetensors";
  files_.FlipBit(shard, 0);
  Status corrupt = World({.run = "seed=1"}).Begin(2);
  EXPECT_NE(corrupt.message().find("none of the 1 checkpoints"), std::string::npos) << corrupt;
  CheckpointWorld anew = World({.resume = {Resume::Kind::kNothing}, .run = "seed=1"});
  ASSERT_TRUE(anew.Begin(2).ok());
  EXPECT_EQ(anew.step(), 0u);
}

// Else the run would begin from nothing, and all that it has would be void.
TEST_F(CheckpointerTest, AFolderThatCantBeReadForAWhileIsntEmpty) {
  {
    CheckpointWorld world = World({.every = 5});
    ASSERT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(world.Step().ok());
      world.DoWork();
    }
  }
  const std::string folder = kFolder;
  for (const std::string& fails :
       {folder, folder + "/lineage-000001", folder + "/lineage-000001/lineage.json"}) {
    files_.OnRead([&](const std::string& path) {
      return path == fails ? Unavailable(path + ": Stale file handle") : OkStatus();
    });
    Status refused = World({}).Begin(2);
    EXPECT_NE(refused.message().find("Stale"), std::string::npos) << fails << ": " << refused;
    files_.OnRead(nullptr);
    EXPECT_EQ(store_.Lineages()->size(), 1u);
  }
  CheckpointWorld world = World({});
  ASSERT_TRUE(world.Begin(2).ok());
  EXPECT_EQ(world.step(), 5u);
}

// While it reads the state, and after it has read it: the start before goes on and removes that.
TEST_F(CheckpointerTest, WhatAStartGoesOnFromIsThereAndStays) {
  for (const char* when : {"/manifest.json", "/shard-00001-of-00002.safetensors", ""}) {
    for (int keep : {1, 2}) {
      SCOPED_TRACE(std::string(when) + " " + std::to_string(keep));
      SimulatedFiles files;
      CheckpointWorld first(files, kFolder, {.every = 5, .keep = keep});
      ASSERT_TRUE(first.Begin(2).ok());
      auto train = [&](int steps) {
        for (int i = 0; i < steps; ++i) {
          (void)first.Step();
          first.DoWork();
        }
      };
      train(12);
      const std::string chosen = std::string(kFolder) + "/lineage-000001/step-0000000010.g1";
      bool is_read = false;
      files.OnRead([&](const std::string& path) {
        if (path == chosen + (*when == '\0' ? "/shard-00002-of-00002.safetensors" : when)) {
          is_read = true;
          if (*when == '\0') return OkStatus();
        }
        const bool is_now = *when != '\0' || path == kFolder;
        if (is_read && is_now) {
          files.OnRead(nullptr);
          train(12);
        }
        return OkStatus();
      });
      CheckpointWorld second(files, kFolder, {.every = 1000});
      ASSERT_TRUE(second.Begin(2).ok());
      ASSERT_TRUE(is_read);
      EXPECT_EQ(second.step(), 20u);
      train(20);
      CheckpointStore store(files, kFolder);
      EXPECT_EQ(store.Candidates()->front().step, 20u) << "as if the second were lost right away";
    }
  }
}

TEST_F(CheckpointerTest, FromNothingItBeginsOnlyWhereNothingElseWasMeant) {
  {
    CheckpointWorld world = World({.every = 5, .keep = 10});
    ASSERT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < 12; ++i) {
      ASSERT_TRUE(world.Step().ok());
      world.DoWork();
    }
    ASSERT_TRUE(world.Begin(2).ok());
    ASSERT_EQ(world.step(), 10u);
  }
  ASSERT_TRUE(store_.BeginLineage(1, 3).ok());
  Status refused = World({}).Begin(2);
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("went on from step 3 of lineage 1, which isn't there any more"),
            std::string::npos)
      << refused;
  EXPECT_NE(refused.message().find("without the folder of lineage 3"), std::string::npos)
      << refused;
  CheckpointWorld anew = World({.resume = {Resume::Kind::kNothing}});
  EXPECT_TRUE(anew.Begin(2).ok());
  CheckpointWorld again = World({});
  EXPECT_TRUE(again.Begin(2).ok()) << "the one before was told to begin from nothing";
  EXPECT_EQ(again.step(), 0u);
}

// Nothing of it is done until the test says so.
class SlowDisk final : public net::Background {
 public:
  void Start(std::function<void()> task) override { tasks_.Start(std::move(task)); }
  bool AwaitIdle() override { return tasks_.size() == 0; }
  void Do() { tasks_.DoAll(); }
  size_t tasks() const { return tasks_.size(); }

 private:
  PendingWork tasks_;
};

TEST_F(CheckpointerTest, ItIsReadOnceHoweverLongThatTakesAndWhateverWorldsPassBy) {
  {
    CheckpointWorld world = World({.every = 5});
    ASSERT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(world.Step().ok());
      world.DoWork();
    }
  }
  ManualClock clock;
  SlowDisk disk;
  Checkpointer checkpointer(store_, disk, clock, {});
  for (Generation generation : {1, 2}) {
    checkpointer.OnWorld(generation, 0, 2);
    EXPECT_FALSE(checkpointer.AwaitBeginning());
    EXPECT_FALSE(checkpointer.AwaitBeginning());
  }
  EXPECT_EQ(disk.tasks(), 1u);
  disk.Do();
  ASSERT_TRUE(checkpointer.AwaitBeginning());
  checkpointer.OnWorld(3, 0, 2);
  ASSERT_TRUE(checkpointer.AwaitBeginning());
  const auto beginning = checkpointer.beginning();
  ASSERT_TRUE(beginning->ok()) << beginning->status();
  EXPECT_EQ((*beginning)->lineage, (Lineage{2, 1, 5}));
  EXPECT_TRUE(IsStateOfItsStep(*(*beginning)->state));
  checkpointer.SetLineage((*beginning)->lineage);
  EXPECT_TRUE(checkpointer.AwaitBeginning()) << "there is nothing to begin";
  EXPECT_EQ(disk.tasks(), 0u);
}

TEST_F(CheckpointerTest, WhatAnotherRankMayHaveBegunMeanwhileIsChosenAnew) {
  ManualClock clock;
  for (const bool is_through : {false, true}) {
    SimulatedFiles files;
    SlowDisk disk, of_other;
    Checkpointer checkpointer(CheckpointStore(files, kFolder), disk, clock, {});
    checkpointer.OnWorld(1, 0, 2);
    EXPECT_FALSE(checkpointer.AwaitBeginning());
    if (is_through) disk.Do();
    Checkpointer other(CheckpointStore(files, kFolder), of_other, clock, {});
    EXPECT_FALSE(other.AwaitBeginning());
    of_other.Do();
    checkpointer.OnWorld(3, 0, 2);
    EXPECT_FALSE(checkpointer.AwaitBeginning());
    disk.Do();
    ASSERT_TRUE(checkpointer.AwaitBeginning());
    EXPECT_EQ((*checkpointer.beginning())->lineage.number, 3);
  }
  SlowDisk disk;
  Checkpointer checkpointer(store_, disk, clock, {});
  EXPECT_FALSE(checkpointer.AwaitBeginning());
  EXPECT_FALSE(*checkpointer.ForgetBeginning()) << "it may still begin one";
  disk.Do();
  EXPECT_TRUE(*checkpointer.ForgetBeginning());
  EXPECT_FALSE(checkpointer.AwaitBeginning());
  disk.Do();
  ASSERT_TRUE(checkpointer.AwaitBeginning());
  EXPECT_EQ((*checkpointer.beginning())->lineage.number, 2);
}

TEST_F(CheckpointerTest, ADiskThatHangsEndsTheStartWithAnErrorThatSaysSo) {
  ManualClock clock;
  SlowDisk disk;
  Checkpointer checkpointer(store_, disk, clock, {.timeout = std::chrono::seconds(60)});
  EXPECT_FALSE(checkpointer.AwaitBeginning());
  clock.Advance(std::chrono::seconds(60));
  ASSERT_TRUE(checkpointer.AwaitBeginning());
  const Status why = checkpointer.beginning()->status();
  EXPECT_EQ(why.code(), StatusCode::kTimeout);
  EXPECT_EQ(checkpointer.ForgetBeginning().status().code(), StatusCode::kTimeout);
  EXPECT_NE(why.message().find("/checkpoints took more than 60 s"), std::string::npos) << why;
  disk.Do();  // late, and harmless
}

TEST_F(CheckpointerTest, TheRecordsOfItsStepsAreSyncedBeforeItIsCommitted) {
  CheckpointWorld world = World({.every = 5});
  int syncs = 0;
  ASSERT_TRUE(world.Begin(2).ok());
  world.SyncBeforeCommit([&] {
    EXPECT_TRUE(Steps().empty());
    return ++syncs == 1 ? ResourceExhausted("the disk is full") : OkStatus();
  });
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  EXPECT_EQ(syncs, 1);
  EXPECT_TRUE(Steps().empty()) << "it is given up";
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  EXPECT_EQ(syncs, 2);
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{10}));
}

TEST_F(CheckpointerTest, ARunWhoseCheckpointsAnotherTookOverEnds) {
  CheckpointWorld world = World({.every = 5});
  ASSERT_TRUE(world.Begin(2).ok());
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(world.Step().ok());
    world.DoWork();
  }
  CheckpointWorld successor = World({.every = 5});
  ASSERT_TRUE(successor.Begin(2).ok());
  Status ended;
  for (int i = 0; i < 6 && ended.ok(); ++i) {
    ended = world.Step();
    world.DoWork();
  }
  EXPECT_EQ(ended.code(), StatusCode::kStaleGeneration) << ended;
  EXPECT_EQ(Steps(), (std::vector<StepNumber>{5}));
}

// The whole life of a run up to a disk operation, and the machine's end there.
TEST_F(CheckpointerTest, WhereverTheMachineGoesDownWhatIsFoundIsWholeAndNoOlderThanCommitted) {
  auto run = [](SimulatedFiles& files, StepNumber& known) {
    CheckpointWorld world(files, kFolder, {.every = 2, .keep = 1});
    if (!world.Begin(2).ok()) return;
    for (int i = 0; i < 9; ++i) {
      if (!world.Step().ok()) return;
      world.DoWork();
      CheckpointStore store(files, kFolder);
      auto candidates = store.Candidates();
      if (candidates.ok() && !candidates->empty()) known = candidates->front().step;
    }
  };
  SimulatedFiles undisturbed;
  StepNumber last = 0;
  run(undisturbed, last);
  ASSERT_EQ(last, 8u);
  std::set<StepNumber> seen;
  for (int64_t at = 1; at <= undisturbed.operations(); ++at) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      SimulatedFiles files;
      StepNumber known = 0;
      files.GoDownAt(at);
      run(files, known);
      SeededRandom random(seed * 1000 + static_cast<uint64_t>(at));
      files.Restart(random);
      CheckpointStore store(files, kFolder);
      StepNumber found = 0;
      auto candidates = store.Candidates();
      ASSERT_TRUE(candidates.ok()) << candidates.status();
      for (const CheckpointName& name : Value(candidates)) {
        auto stored = store.Read(name);
        ASSERT_TRUE(stored.ok()) << at << " " << stored.status();
        EXPECT_TRUE(IsStateOfItsStep(*stored));
        found = std::max(found, name.step);
      }
      EXPECT_GE(found, known) << "operation " << at;
      seen.insert(found);
      // And the next start goes on from it.
      StepNumber again = 0;
      run(files, again);
      EXPECT_GE(again, found);
    }
  }
  EXPECT_EQ(seen, (std::set<StepNumber>{0, 2, 4, 6, 8}));
}

TEST_F(CheckpointerTest, WhicheverOperationFailsWhatIsFoundIsWhole) {
  auto run = [](SimulatedFiles& files) {
    CheckpointWorld world(files, kFolder, {.every = 2, .keep = 1});
    if (!world.Begin(2).ok()) return;
    for (int i = 0; i < 8; ++i) {
      EXPECT_TRUE(world.Step().ok());
      world.DoWork();
    }
    EXPECT_TRUE(world.Finish().ok());
  };
  SimulatedFiles undisturbed;
  run(undisturbed);
  for (int64_t at = 1; at <= undisturbed.operations(); ++at) {
    SimulatedFiles files;
    files.FailAt(at, ResourceExhausted("the disk is full"));
    run(files);
    CheckpointStore store(files, kFolder);
    auto candidates = store.Candidates();
    ASSERT_TRUE(candidates.ok()) << candidates.status();
    for (const CheckpointName& name : Value(candidates)) {
      auto stored = store.Read(name);
      EXPECT_TRUE(stored.ok() && IsStateOfItsStep(*stored)) << at << " " << stored.status();
    }
  }
}

TEST(DivideOverRanks, IsEvenAndDoesntDependOnOpaquePieces) {
  StepState state(1);
  std::vector<Piece> pieces = state.Pieces();
  const std::vector<int> writers = DivideOverRanks(pieces, 2);
  pieces.back() = OpaquePiece(pieces.back().name, "another length");
  EXPECT_EQ(DivideOverRanks(pieces, 2), writers);
  std::vector<size_t> bytes(2, 0);
  for (size_t i = 0; i + 1 < pieces.size(); ++i) {
    bytes[static_cast<size_t>(writers[i])] += pieces[i].bytes.size();
  }
  EXPECT_EQ(bytes[0] + bytes[1], 120u);
  EXPECT_LE(std::max(bytes[0], bytes[1]), 64u);
  EXPECT_EQ(DivideOverRanks(pieces, 20).size(), pieces.size());
}

}  // namespace
}  // namespace closeranks::elastic
