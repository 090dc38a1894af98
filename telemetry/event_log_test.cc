#include "telemetry/event_log.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "base/simulated_files.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace closeranks::telemetry {
namespace {

std::string TemporaryPath(const std::string& name) {
  return testing::TempDir() + "/event_log_test." + std::to_string(getpid()) + "." + name;
}

std::vector<std::string> Lines(const std::string& path) {
  SystemFiles files;
  std::string text = files.Read(path).value();
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    lines.push_back(text.substr(begin, end - begin));
  }
  EXPECT_EQ(begin, text.size()) << "the last line is torn";
  return lines;
}

TEST(Record, HoldsEachKindOfFieldAsJson) {
  std::vector<int32_t> ranks = {0, 2};
  Record record("world");
  record.Set("int", -1)
      .Set("big", std::numeric_limits<uint64_t>::max())
      .Set("double", 0.1)
      .Set("nan", std::numeric_limits<double>::quiet_NaN())
      .Set("true", true)
      .Set("literal", "a \"quoted\"\nline")
      .Set("string", std::string("b"))
      .Set("list", ranks)
      .Set("none", std::vector<int32_t>())
      .Set("time", TimePoint(Duration(17)));
  auto json = nlohmann::json::parse("{" + record.fields() + "}");
  EXPECT_EQ(json["event"], "world");
  EXPECT_EQ(json["int"], -1);
  EXPECT_EQ(json["big"].get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(json["double"].get<double>(), 0.1);
  EXPECT_TRUE(json["nan"].is_null());
  EXPECT_EQ(json["true"], true);
  EXPECT_EQ(json["literal"], "a \"quoted\"\nline");
  EXPECT_EQ(json["string"], "b");
  EXPECT_EQ(json["list"], nlohmann::json({0, 2}));
  EXPECT_TRUE(json["none"].is_array() && json["none"].empty());
  EXPECT_EQ(json["time"], 17);
}

TEST(Record, BrokenUtf8BecomesValidJson) {
  Record record("x");
  record.Set("text", std::string_view("a\xff"));
  EXPECT_FALSE(nlohmann::json::parse("{" + record.fields() + "}", nullptr, false).is_discarded());
}

TEST(EventLog, StampsEventsWithTheClockOrTheGivenMoment) {
  std::string path = TemporaryPath("stamps");
  SystemFiles files;
  ManualClock clock;
  clock.Advance(Duration(5));
  auto log = EventLog::Open(files, path, clock).value();
  log->Write(Record("a"));
  log->Write(Record("b"), TimePoint(Duration(3)));
  EXPECT_EQ(Lines(path),
            (std::vector<std::string>{R"({"t":5,"event":"a"})", R"({"t":3,"event":"b"})"}));
}

TEST(EventLog, LinesOfManyThreadsStayWhole) {
  std::string path = TemporaryPath("threads");
  SystemFiles files;
  SystemClock clock;
  auto log = EventLog::Open(files, path, clock).value();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&log, i] {
      for (int n = 0; n < 500; ++n) log->Write(Record("x").Set("thread", i).Set("n", n));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<int> next(4, 0);
  for (const std::string& line : Lines(path)) {
    auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["n"], next[json["thread"].get<int>()]++);
  }
  EXPECT_EQ(next, std::vector<int>(4, 500));
}

TEST(EventLog, WhatWasWrittenSurvivesSigkill) {
  std::string path = TemporaryPath("sigkill");
  pid_t child = fork();
  if (child == 0) {
    SystemFiles files;
    SystemClock clock;
    auto log = EventLog::Open(files, path, clock).value();
    for (int n = 0; n < 100; ++n) log->Write(Record("x").Set("n", n));
    kill(getpid(), SIGKILL);
  }
  int wait_status = 0;
  ASSERT_EQ(waitpid(child, &wait_status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(wait_status));
  EXPECT_EQ(Lines(path).size(), 100u);
}

TEST(EventLog, AFullDiskEndsTheLogInOneTornLineAndIsTold) {
  SimulatedFiles disk;
  disk.SetRoom(40);
  ManualClock clock;
  auto log = EventLog::Open(disk, "x", clock).value();
  log->Write(Record("aaaa"));  // 23 bytes
  EXPECT_TRUE(log->status().ok());
  log->Write(Record("bbbb"));
  EXPECT_EQ(log->status().code(), StatusCode::kResourceExhausted);
  log->Write(Record("c"));
  EXPECT_EQ(*disk.Read("x"), "{\"t\":0,\"event\":\"aaaa\"}\n{\"t\":0,\"event\":\"b");
}

TEST(EventLog, WithoutAFileForgetsEverything) {
  EventLog log;
  log.Write(Record("x"));
  log.Write(Record("x"), TimePoint());
  EXPECT_TRUE(log.status().ok());
}

}  // namespace
}  // namespace closeranks::telemetry
