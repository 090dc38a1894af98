#include "closeranks/environment.h"

#include <map>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

Result<Environment> Read(const std::map<std::string, std::string>& variables) {
  return ReadEnvironment([&](const char* name) -> const char* {
    auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Environment, NothingSetIsNothingKnown) {
  auto environment = Read({});
  ASSERT_TRUE(environment.ok());
  EXPECT_FALSE(environment->member.has_value());
  EXPECT_FALSE(environment->agent_fd.has_value());
}

TEST(Environment, TorchrunAndKubernetesNamesMeanTheSame) {
  EXPECT_EQ(Read({{"RANK", "2"}})->member, 2);
  EXPECT_EQ(Read({{"JOB_COMPLETION_INDEX", "2"}})->member, 2);
  EXPECT_EQ(Read({{"JOB_COMPLETION_INDEX", "2"}, {"RANK", "2"}})->member, 2);
}

TEST(Environment, AContradictionNamesBothSides) {
  Status status = Read({{"RANK", "1"}, {"JOB_COMPLETION_INDEX", "2"}}).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("RANK=1"), std::string::npos);
  EXPECT_NE(status.message().find("JOB_COMPLETION_INDEX=2"), std::string::npos);
  EXPECT_FALSE(Read({{"RANK", "4"}, {"WORLD_SIZE", "4"}}).ok());
}

TEST(Environment, WhatIsNoNumberIsNamed) {
  for (const char* value : {"x", "1x", "-1", "99999999999"}) {
    Status status = Read({{"RANK", value}}).status();
    EXPECT_NE(status.message().find("RANK='" + std::string(value)), std::string::npos) << status;
  }
  EXPECT_FALSE(Read({{"MASTER_PORT", "70000"}}).ok());
}

}  // namespace
}  // namespace closeranks
