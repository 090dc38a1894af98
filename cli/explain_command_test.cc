#include "cli/explain_command.h"

#include <sstream>
#include <string>
#include <vector>

#include "base/simulated_files.h"
#include "collectives/engine/call.h"
#include "gtest/gtest.h"
#include "telemetry/flight_recorder.h"
#include "telemetry/records.h"

namespace closeranks::cli {
namespace {

using std::chrono::seconds;

// Two ranks on two hosts, whose folders are "a" and "b"; rank 0 waits for rank 1.
class ExplainCommandTest : public testing::Test {
 protected:
  ExplainCommandTest() {
    clock_.Advance(seconds(100));
    const World world{1, {{0, {1, 1}}, {1, {2, 2}}}};
    collectives::Call call;
    call.operation = collectives::OperationKind::kBarrier;
    for (int rank = 0; rank < 2; ++rank) {
      const MemberProcess& process = world.ranks[rank];
      telemetry::FlightRecorder recorder(clock_, process.incarnation);
      recorder.SetMember(process.member);
      recorder.EnterWorld(world, rank);
      recorder.SetActivity(telemetry::Activity::kComputing, 7);
      if (rank == 0) recorder.Begin(1, 0, call.Encode(), 0, clock_.Now());
      clock_.Advance(seconds(5));
      const std::string folder = rank == 0 ? "a" : "b";
      EXPECT_TRUE(files_.MakeFolder(folder).ok());
      Write(telemetry::FlightPath(folder, process), recorder.Copy());
    }
    Write(telemetry::NoticesPath("b", world.ranks[1]), "member 1 is stuck\n    at work()\n");
  }

  void Write(const std::string& path, const std::string& bytes) {
    EXPECT_TRUE(files_.Replace(path, bytes).ok());
  }
  ExitCode Explain(const std::vector<std::string>& arguments) {
    return ExplainCommand(arguments, files_, out_, err_);
  }

  ManualClock clock_;
  SimulatedFiles files_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ExplainCommandTest, MergesTheHostsRecordsAndAddsTheirNotices) {
  EXPECT_EQ(Explain({"a", "b"}), ExitCode::kOk);
  EXPECT_EQ(out_.str(),
            "Generation 1 has 2 ranks. Operation 0 (barrier, 0 B) isn't through. "
            "It lacks rank 1 (member 1), which hasn't begun it: it computes, in step 7, since "
            "5.00 s. Rank 0 waits for it, since 5.00 s.\n\n"
            "member 1 is stuck\n    at work()\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(ExplainCommandTest, SaysOfWhomThereIsNoRecord) {
  EXPECT_EQ(Explain({"a"}), ExitCode::kOk);
  EXPECT_NE(out_.str().find("rank 1 (member 1), of which there is no record"), std::string::npos)
      << out_.str();
}

TEST_F(ExplainCommandTest, ATornRecordIsLeftOutAndNamed) {
  Write("a/flight.5.00000000.bin", "torn");
  EXPECT_EQ(Explain({"a", "b"}), ExitCode::kOk);
  EXPECT_EQ(err_.str().find("explain: a/flight.5.00000000.bin is left out"), 0u) << err_.str();
}

TEST_F(ExplainCommandTest, WhereThereIsNothingItSaysHowToGetIt) {
  EXPECT_TRUE(files_.MakeFolder("empty").ok());
  EXPECT_EQ(Explain({"empty"}), ExitCode::kUsage);
  EXPECT_NE(err_.str().find("send SIGUSR2"), std::string::npos) << err_.str();
  for (const std::vector<std::string>& refused :
       std::vector<std::vector<std::string>>{{}, {"--what"}, {"nowhere"}}) {
    EXPECT_EQ(Explain(refused), ExitCode::kUsage);
  }
  EXPECT_EQ(Explain({"--help"}), ExitCode::kOk);
  EXPECT_EQ(out_.str().find("usage: closeranks explain"), 0u);
}

}  // namespace
}  // namespace closeranks::cli
