#include "cli/report_command.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "cli/verify_epoch_command.h"
#include "gtest/gtest.h"
#include "telemetry/records.h"
#include "telemetry/report/synthetic_run.h"

namespace closeranks::cli {
namespace {

class Commands : public testing::Test {
 protected:
  Commands()
      : folder_(
            telemetry::NewFolder(testing::UnitTest::GetInstance()->current_test_info()->name())) {
    telemetry::WriteSyntheticRun(files_, folder_);
  }

  ExitCode Report(const std::vector<std::string>& arguments) {
    return ReportCommand(arguments, files_, out_, err_);
  }
  ExitCode Verify(const std::vector<std::string>& arguments) {
    return VerifyEpochCommand(arguments, files_, out_, err_);
  }
  void EditLedger(std::string_view from, std::string_view to) {
    telemetry::EditFile(files_, telemetry::LedgerPath(folder_, telemetry::SyntheticProcess(1)),
                        from, to);
  }

  SystemFiles files_;
  const std::string folder_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(Commands, ReportWritesBothFilesAndPrintsTheTable) {
  EXPECT_EQ(Report({folder_}), ExitCode::kOk);
  EXPECT_EQ(files_.Read(folder_ + "/report.json").value()[0], '{');
  EXPECT_EQ(files_.Read(folder_ + "/report.html").value().find("<!DOCTYPE html>"), 0u);
  EXPECT_NE(out_.str().find("replay apart"), std::string::npos);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(Commands, ReportOfALostSampleIsWrittenAndFails) {
  EditLedger("4 2 2 3 0 1 2\n", "4 2 2 3 0 1 5\n");
  EXPECT_EQ(Report({folder_}), ExitCode::kError);
  EXPECT_TRUE(files_.Read(folder_ + "/report.html").ok());
}

TEST_F(Commands, ReportOfWhatIsntARunSaysSoInOneLine) {
  EXPECT_EQ(Report({folder_ + "/none"}), ExitCode::kUsage);
  EditLedger("4 2 2 3 0 1 2\n", "4 2 2 3 0 one\n");
  EXPECT_EQ(Report({folder_}), ExitCode::kUsage);
  std::string lines = err_.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_NE(lines.find(".txt:4: not a ledger line"), std::string::npos) << lines;
  EXPECT_EQ(Report({}), ExitCode::kUsage);
  EXPECT_EQ(Report({"--what"}), ExitCode::kUsage);
}

TEST_F(Commands, VerifyEpochFailsExactlyWhenSomethingIsLostOrDuplicated) {
  EXPECT_EQ(Verify({"--samples", "12", "--epochs=2", folder_}), ExitCode::kOk);
  EXPECT_NE(out_.str().find("all                24           24            0            0\n"),
            std::string::npos)
      << out_.str();
  EXPECT_EQ(Verify({"--samples=13", "--epochs=2", folder_}), ExitCode::kError);
  EditLedger("4 2 2 3 0 1 2\n", "4 2 2 3 0 1 5\n");
  out_.str("");
  EXPECT_EQ(Verify({"--json", "--samples=12", "--epochs", "2", folder_}), ExitCode::kError);
  EXPECT_NE(out_.str().find("\"samples_lost\": 1"), std::string::npos) << out_.str();
  EXPECT_NE(out_.str().find("\"samples_duplicated\": 1"), std::string::npos) << out_.str();
}

TEST_F(Commands, VerifyEpochFailsWhenAStepIsInNoLedger) {
  for (int process : {1, 2}) {
    telemetry::EditFile(files_,
                        telemetry::LedgerPath(folder_, telemetry::SyntheticProcess(process)),
                        "4 2 2 ", "7 2 2 ");
  }
  EXPECT_EQ(Verify({"--samples=12", "--epochs=2", folder_}), ExitCode::kError);
  EXPECT_NE(out_.str().find("steps in no ledger: 1 (4)"), std::string::npos) << out_.str();
}

TEST_F(Commands, VerifyEpochTakesFromTheRecordsWhatTheRunWasToDo) {
  EXPECT_EQ(Verify({folder_}), ExitCode::kOk) << err_.str();
  EXPECT_EQ(Verify({folder_, folder_, "--epochs=2"}), ExitCode::kOk) << err_.str();
  EXPECT_EQ(Verify({folder_, "--epochs=3"}), ExitCode::kError);
  const std::string other = folder_ + "/other";
  ASSERT_TRUE(files_.MakeFolder(other).ok());
  EXPECT_EQ(Verify({other}), ExitCode::kUsage);
  EXPECT_NE(err_.str().find("give --samples and --epochs"), std::string::npos) << err_.str();
}

TEST_F(Commands, VerifyEpochRefusesArgumentsThatItDoesntUnderstand) {
  std::vector<std::vector<std::string>> refused = {
      {},
      {"--samples=12", "--epochs=2"},
      {"--samples=0", "--epochs=2", folder_},
      {"--samples=1x", "--epochs=2", folder_},
      {"--samples=12", "--epochs=2", "--colour", folder_},
      {folder_, "--epochs=2", "--samples"},
  };
  for (const auto& arguments : refused) {
    err_.str("");
    EXPECT_EQ(Verify(arguments), ExitCode::kUsage);
    EXPECT_NE(err_.str().find("usage: closeranks verify-epoch"), std::string::npos);
  }
  EXPECT_EQ(Verify({"--samples=12", "--epochs=2", folder_ + "/none"}), ExitCode::kUsage);
}

}  // namespace
}  // namespace closeranks::cli
