#include "telemetry/log_prefix.h"

#include <string>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"

namespace closeranks::telemetry {
namespace {

TEST(LogPrefix, EveryLineNamesGenerationRankAndOperation) {
  LogPrefix prefix;
  testing::internal::CaptureStderr();
  InitLogging("log_prefix_test", prefix);
  LOG(INFO) << "before";
  prefix.generation = 3;
  prefix.rank = 1;
  prefix.op_sequence = 8812;
  LOG(WARNING) << "after";
  google::FlushLogFiles(google::INFO);
  std::string log = testing::internal::GetCapturedStderr();
  google::ShutdownGoogleLogging();
  EXPECT_NE(log.find("] gen=- rank=- op=- before\n"), std::string::npos) << log;
  EXPECT_NE(log.find("] gen=3 rank=1 op=8812 after\n"), std::string::npos) << log;
  EXPECT_NE(log.find(" log_prefix_test.cc:"), std::string::npos) << log;
}

TEST(LogTap, TakesEachLineUntilItGoes) {
  LogPrefix prefix;
  testing::internal::CaptureStderr();
  InitLogging("log_prefix_test", prefix);
  std::vector<std::string> lines;
  {
    LogTap tap([&](const std::string& line) { lines.push_back(line); });
    LOG(WARNING) << "within";
  }
  LOG(INFO) << "after";
  google::FlushLogFiles(google::INFO);
  const std::string log = testing::internal::GetCapturedStderr();
  google::ShutdownGoogleLogging();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].find("W "), 0u) << lines[0];
  EXPECT_NE(lines[0].find("] gen=- rank=- op=- within"), std::string::npos) << lines[0];
  EXPECT_EQ(log.find("within"), std::string::npos) << log;
  EXPECT_NE(log.find("] gen=- rank=- op=- after\n"), std::string::npos) << log;
}

}  // namespace
}  // namespace closeranks::telemetry
