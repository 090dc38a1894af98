#include "elastic/checkpoint/store.h"

#include "base/simulated_files.h"
#include "elastic/checkpoint/checkpoint_fixture.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

constexpr char kFolder[] = "/checkpoints";

class StoreTest : public testing::Test {
 protected:
  Lineage Begin(int64_t parent = 0, StepNumber step = 0) {
    auto lineage = store_.BeginLineage(parent, step);
    EXPECT_TRUE(lineage.ok()) << lineage.status();
    return *lineage;
  }
  Status Write(const Lineage& lineage, StepNumber step, int shards = 2) {
    StepState state(step);
    const std::vector<Piece> pieces = state.Pieces();
    const std::vector<int> writers = DivideOverRanks(pieces, shards);
    std::vector<std::string> names;
    for (const Piece& piece : pieces) names.push_back(piece.name);
    for (int shard = 0; shard < shards; ++shard) {
      std::vector<Piece> share;
      for (size_t i = 0; i < pieces.size(); ++i) {
        if (writers[i] == shard) share.push_back(pieces[i]);
      }
      RETURN_IF_ERROR(store_.WriteShard({lineage.number, step, 1}, shard, shards, share));
    }
    Manifest manifest;
    manifest.lineage = lineage;
    manifest.step = step;
    manifest.generation = 1;
    manifest.world = shards;
    return store_.Commit(manifest, names);
  }
  std::vector<StepNumber> CandidateSteps() {
    std::vector<StepNumber> steps;
    for (const CheckpointName& name : Value(store_.Candidates())) steps.push_back(name.step);
    return steps;
  }

  SimulatedFiles files_;
  CheckpointStore store_{files_, kFolder};
};

TEST_F(StoreTest, WhatIsCommittedIsReadBack) {
  EXPECT_TRUE(store_.Whole()->empty()) << "there is no folder yet";
  const Lineage lineage = Begin();
  for (int shards : {1, 2, 3, 8}) {
    const StepNumber step = static_cast<StepNumber>(shards) * 10;
    ASSERT_TRUE(Write(lineage, step, shards).ok());
    auto stored = store_.Read({lineage.number, step, 1});
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_TRUE(IsStateOfItsStep(*stored));
    EXPECT_EQ(stored->manifest.world, shards);
  }
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{80, 30, 20, 10}));
}

TEST_F(StoreTest, EveryFlippedBitIsNoticed) {
  const Lineage lineage = Begin();
  ASSERT_TRUE(Write(lineage, 10).ok());
  const CheckpointName name{lineage.number, 10, 1};
  const std::string folder = std::string(kFolder) + "/" + name.ToString() + "/";
  for (const std::string& file : Value(files_.List(std::string(kFolder) + "/" + name.ToString()))) {
    const size_t bytes = files_.Read(folder + file)->size();
    for (size_t byte = 0; byte < bytes; ++byte) {
      files_.FlipBit(folder + file, byte);
      auto stored = store_.Read(name);
      // A space of the header may become another character that says nothing.
      EXPECT_TRUE(!stored.ok() || IsStateOfItsStep(*stored)) << file << " " << byte;
      files_.FlipBit(folder + file, byte);
    }
    // The data, which has no structure that would betray it.
    if (file.starts_with("shard")) {
      files_.FlipBit(folder + file, bytes - 1);
      EXPECT_NE(store_.Read(name).status().message().find("its checksum is another"),
                std::string::npos);
      files_.FlipBit(folder + file, bytes - 1);
    }
  }
  EXPECT_TRUE(store_.Read(name).ok());
}

TEST_F(StoreTest, OnlyTheNewestLineageAndWhatItComesFromCount) {
  const Lineage first = Begin();
  for (StepNumber step : {10, 20, 30}) ASSERT_TRUE(Write(first, step).ok());
  const Lineage second = Begin(first.number, 20);
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{20, 10}));
  ASSERT_TRUE(Write(second, 25).ok());
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{25, 20, 10}));
  const Lineage third = Begin(first.number, 10);
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{10}));
  const Lineage fourth = Begin(third.number, 10);
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{10}));
  EXPECT_EQ(fourth.number, 4);
  Begin();
  EXPECT_TRUE(CandidateSteps().empty()) << "it began from nothing";
}

TEST_F(StoreTest, CheckpointsWithoutARecordAreNamedAndTheirNumberIsntTakenAgain) {
  const Lineage first = Begin();
  ASSERT_TRUE(Write(first, 10).ok());
  const std::string record = std::string(kFolder) + "/lineage-000001/lineage.json";
  ASSERT_TRUE(files_.Remove(record).ok());
  for (const Status& status : {store_.Lineages().status(), store_.Candidates().status(),
                               store_.BeginLineage(0, 0).status()}) {
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find("/checkpoints/lineage-000001 has checkpoints"),
              std::string::npos)
        << status;
  }
  EXPECT_FALSE(*files_.Exists(record));
}

TEST_F(StoreTest, AFolderThatAStartMadeAndThenWasLostIsPassedOver) {
  ASSERT_TRUE(files_.MakeFolder(std::string(kFolder) + "/lineage-000001").ok());
  EXPECT_TRUE(store_.Lineages()->empty());
  EXPECT_EQ(Begin().number, 1);
}

TEST_F(StoreTest, WhoIsSupersededCommitsNothing) {
  const Lineage first = Begin();
  ASSERT_TRUE(Write(first, 10).ok());
  Begin(first.number, 10);
  EXPECT_EQ(Write(first, 20).code(), StatusCode::kStaleGeneration);
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{10}));
}

TEST_F(StoreTest, AShardThatIsMissingOrHasTooLittleIsntCommitted) {
  const Lineage lineage = Begin();
  StepState state(5);
  Manifest manifest;
  manifest.lineage = lineage;
  manifest.step = 5;
  manifest.generation = 1;
  manifest.world = 2;
  std::vector<Piece> pieces = state.Pieces();
  std::vector<std::string> names;
  for (const Piece& piece : pieces) names.push_back(piece.name);
  ASSERT_TRUE(store_.WriteShard({lineage.number, 5, 1}, 0, 2, pieces).ok());
  Status missing = store_.Commit(manifest, names);
  EXPECT_NE(missing.message().find("the same on every host?"), std::string::npos) << missing;
  ASSERT_TRUE(store_.WriteShard({lineage.number, 5, 1}, 1, 2, {}).ok());
  names.push_back("one more");
  EXPECT_EQ(store_.Commit(manifest, names).code(), StatusCode::kInternal);
  names.pop_back();
  EXPECT_TRUE(store_.Commit(manifest, names).ok());
}

TEST_F(StoreTest, NothingIsWrittenOverAShard) {
  const Lineage lineage = Begin();
  ASSERT_TRUE(Write(lineage, 10).ok());
  EXPECT_EQ(Write(lineage, 10).code(), StatusCode::kAborted);
  EXPECT_TRUE(IsStateOfItsStep(*store_.Read({lineage.number, 10, 1})));
}

TEST_F(StoreTest, OldOnesGoAndTheNewestStay) {
  const Lineage other = Begin();
  ASSERT_TRUE(Write(other, 1).ok());
  const Lineage first = Begin();
  for (StepNumber step : {10, 20, 30}) ASSERT_TRUE(Write(first, step).ok());
  const Lineage second = Begin(first.number, 20);
  // Torn ones, of which the last may still be written.
  for (StepNumber step : {22, 44}) {
    ASSERT_TRUE(store_.WriteShard({second.number, step, 1}, 0, 2, {}).ok());
  }
  ASSERT_TRUE(Write(second, 40).ok());
  ASSERT_TRUE(store_.RemoveOld(2).ok());
  std::vector<StepNumber> whole, torn;
  for (const CheckpointName& name : Value(store_.Whole())) whole.push_back(name.step);
  for (const CheckpointName& name : Value(store_.Torn())) torn.push_back(name.step);
  EXPECT_EQ(whole, (std::vector<StepNumber>{1, 20, 40})) << "another run's is left alone";
  EXPECT_EQ(torn, (std::vector<StepNumber>{44}));
  ASSERT_TRUE(store_.RemoveOld(1).ok());
  EXPECT_EQ(CandidateSteps(), (std::vector<StepNumber>{40}));
  EXPECT_TRUE(IsStateOfItsStep(*store_.Read({second.number, 40, 1})));
}

}  // namespace
}  // namespace closeranks::elastic
