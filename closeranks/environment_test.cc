#include "closeranks/environment.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>
#include <utility>

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
  EXPECT_FALSE(Read({{"CLOSERANKS_AGENT_FD", "3"}, {"RANK", "4"}, {"WORLD_SIZE", "4"}}).ok());
}

TEST(Environment, ThePodsIndexIsntAWorkersRank) {
  auto worker = Read({{"CLOSERANKS_AGENT_FD", "3"}, {"RANK", "4"}, {"JOB_COMPLETION_INDEX", "2"}});
  ASSERT_TRUE(worker.ok()) << worker.status();
  EXPECT_EQ(worker->member, 4);
}

// The variable and its value, and what they contradict.
void ExpectContradiction(const Status& status, const std::string& variable,
                         const std::string& other) {
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  for (const std::string& part :
       {"has " + variable + ", but ", other, std::string(", or unset ")}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << " in " << status;
  }
}

TEST(Environment, WhoIsAloneIsToldSoByNoVariable) {
  auto check = [](const std::map<std::string, std::string>& variables, int workers) {
    return CheckAlone(*Read(variables), workers, "there is no --hosts", "list them");
  };
  EXPECT_TRUE(check({}, 2).ok());
  EXPECT_TRUE(check({{"WORLD_SIZE", "2"},
                     {"RANK", "0"},
                     {"LOCAL_RANK", "0"},
                     {"MASTER_ADDR", "localhost"},
                     {"MASTER_PORT", "29500"}},
                    2)
                  .ok());
  EXPECT_TRUE(check({{"MASTER_ADDR", "127.0.0.2"}}, 1).ok());
  for (const auto& [variable, value] : {std::pair("WORLD_SIZE", "3"),
                                        {"WORLD_SIZE", "1"},
                                        {"RANK", "5"},
                                        {"JOB_COMPLETION_INDEX", "1"},
                                        {"LOCAL_RANK", "3"},
                                        {"MASTER_ADDR", "otherhost"}}) {
    ExpectContradiction(check({{variable, value}}, 2), std::string(variable) + "=" + value,
                        "there is no --hosts: list them");
  }
}

TEST(Environment, OneOfSeveralHostsIsWhatTheFlagsSay) {
  auto check = [](const std::map<std::string, std::string>& variables) {
    return CheckAmongHosts(*Read(variables), {2, 2, 3, "node-0", 29400});
  };
  EXPECT_TRUE(check({}).ok());
  EXPECT_TRUE(check({{"WORLD_SIZE", "6"},
                     {"RANK", "1"},
                     {"JOB_COMPLETION_INDEX", "1"},
                     {"LOCAL_RANK", "0"},
                     {"MASTER_ADDR", "node-0"},
                     {"MASTER_PORT", "29400"}})
                  .ok());
  ExpectContradiction(check({{"WORLD_SIZE", "3"}}), "WORLD_SIZE=3", "2 hosts with -n=3 workers");
  ExpectContradiction(check({{"RANK", "2"}}), "RANK=2", "there are 2 hosts");
  ExpectContradiction(check({{"JOB_COMPLETION_INDEX", "2"}}), "JOB_COMPLETION_INDEX=2",
                      "there are 2 hosts");
  ExpectContradiction(check({{"LOCAL_RANK", "1"}}), "LOCAL_RANK=1", "one supervisor");
  ExpectContradiction(check({{"MASTER_ADDR", "node-1"}}), "MASTER_ADDR=node-1", "is node-0");
  ExpectContradiction(check({{"MASTER_PORT", "1"}}), "MASTER_PORT=1", "port 29400");
}

TEST(Environment, AWitnessIsAHostAndNoneOfTheWorldsWorkers) {
  auto check = [](const std::map<std::string, std::string>& variables) {
    return CheckAmongHosts(*Read(variables), {3, 2, 1, "node-0", 29400});
  };
  for (const char* host : {"0", "1", "2"}) {
    Status status = check({{"WORLD_SIZE", "2"}, {"RANK", host}});
    EXPECT_TRUE(status.ok()) << status;
  }
  ExpectContradiction(check({{"WORLD_SIZE", "3"}}), "WORLD_SIZE=3", "2 hosts with -n=1 workers");
  ExpectContradiction(check({{"WORLD_SIZE", "2"}, {"RANK", "3"}}), "RANK=3", "there are 3 hosts");
}

TEST(Environment, TheAgentsSocketIsForThisProcessOnly) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  UniqueFd other_end(ends[1]);
  setenv(kAgentFdVariable, std::to_string(ends[0]).c_str(), 1);
  auto taken = TakeAgentSocket(*ReadEnvironment());
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->get(), ends[0]);
  EXPECT_EQ(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(ReadEnvironment()->agent_fd.has_value());
}

TEST(Environment, WhatIsNoSocketOfASupervisorIsNamed) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  for (int fd : {ends[0], 7777}) {
    const std::string number = std::to_string(fd);
    Status status = TakeAgentSocket(*Read({{kAgentFdVariable, number}})).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("CLOSERANKS_AGENT_FD=" + number), std::string::npos) << status;
  }
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
