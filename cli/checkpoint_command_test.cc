#include "cli/checkpoint_command.h"

#include <sstream>
#include <vector>

#include "base/simulated_files.h"
#include "elastic/checkpoint/checkpoint_fixture.h"
#include "gtest/gtest.h"

namespace closeranks::cli {
namespace {

constexpr char kFolder[] = "/checkpoints";

class CheckpointCommandTest : public testing::Test {
 protected:
  // Checkpoints of step 5, of 6 and a torn one by a start that went on from 5, and another such
  // start.
  CheckpointCommandTest() {
    Train({.every = 5}, 7);
    Train({.every = 6}, 2);
    EXPECT_TRUE(store_.WriteShard({2, 7, 1}, 0, 2, {}).ok());
    Train({.resume = {elastic::Resume::Kind::kStep, 5}}, 1);
  }
  void Train(elastic::Checkpointer::Options options, int steps) {
    options.keep = 9;
    options.seconds_since_1970 = [] { return 86400; };
    elastic::CheckpointWorld world(files_, kFolder, options);
    EXPECT_TRUE(world.Begin(2).ok());
    for (int i = 0; i < steps; ++i) {
      EXPECT_TRUE(world.Step().ok());
      world.DoWork();
    }
  }
  ExitCode Run(const std::vector<std::string>& arguments) {
    out_.str("");
    err_.str("");
    return CheckpointCommand(arguments, files_, out_, err_);
  }
  bool Said(const std::string& text) const { return out_.str().find(text) != std::string::npos; }

  SimulatedFiles files_;
  elastic::CheckpointStore store_{files_, kFolder};
  std::ostringstream out_, err_;
};

TEST_F(CheckpointCommandTest, LsTellsWhatTheNextStartMayGoOnFrom) {
  EXPECT_EQ(Run({"ls", kFolder}), ExitCode::kOk) << err_.str();
  EXPECT_TRUE(Said("lineage 1, from nothing\n")) << out_.str();
  EXPECT_TRUE(Said("lineage 3, from step 5 of lineage 1\n")) << out_.str();
  EXPECT_TRUE(Said("lineage-000001/step-0000000005.g1        usable")) << out_.str();
  EXPECT_TRUE(Said("lineage-000002/step-0000000006.g1        void")) << out_.str();
  EXPECT_TRUE(Said("lineage-000002/step-0000000007.g1 torn")) << out_.str();
  EXPECT_TRUE(Said("1970-01-02 00:00:00")) << out_.str();
}

TEST_F(CheckpointCommandTest, VerifyFindsOneWrongBit) {
  EXPECT_EQ(Run({"verify", kFolder}), ExitCode::kOk) << out_.str();
  EXPECT_TRUE(Said("step-0000000006.g1: ok\n"));
  EXPECT_TRUE(Said("lineage-000002/step-0000000007.g1: torn, it was never finished\n"));
  const std::string shard =
      std::string(kFolder) + "/lineage-000002/step-0000000006.g1/shard-00001-of-00002.safetensors";
  files_.FlipBit(shard, files_.Read(shard)->size() - 1);
  EXPECT_EQ(Run({"verify", kFolder}), ExitCode::kError);
  EXPECT_TRUE(Said("step-0000000005.g1: ok\n")) << out_.str();
  EXPECT_TRUE(Said("its checksum is another")) << out_.str();
}

TEST_F(CheckpointCommandTest, ShowListsTensors) {
  EXPECT_EQ(Run({"show", kFolder}), ExitCode::kOk) << err_.str();
  EXPECT_TRUE(Said("lineage-000001/step-0000000005.g1\nstep 5 of")) << out_.str();
  EXPECT_TRUE(Said("tensor.2  F32 [3, 2]  shard-0000")) << out_.str();
  EXPECT_EQ(Run({"show", kFolder, "lineage-000002/step-0000000006.g1"}), ExitCode::kOk);
  EXPECT_TRUE(Said("step 6 of")) << out_.str();
  EXPECT_EQ(Run({"show", kFolder, "nothing"}), ExitCode::kUsage);
}

TEST_F(CheckpointCommandTest, WhatIsntThereIsSaidInOneLine) {
  for (const char* verb : {"ls", "verify", "show"}) {
    EXPECT_EQ(Run({verb, "/nowhere"}), ExitCode::kUsage);
    EXPECT_NE(err_.str().find("/nowhere"), std::string::npos) << err_.str();
  }
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{}, {"ls"}, {"remove", kFolder}, {"ls", kFolder, "x"}}) {
    EXPECT_EQ(Run(wrong), ExitCode::kUsage);
  }
}

}  // namespace
}  // namespace closeranks::cli
