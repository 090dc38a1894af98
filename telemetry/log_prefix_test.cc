#include "telemetry/log_prefix.h"

#include <string>

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

}  // namespace
}  // namespace closeranks::telemetry
