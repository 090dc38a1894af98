#include "telemetry/flight_recorder.h"

#include <array>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::telemetry {
namespace {

using std::chrono::milliseconds;

class FlightRecorderTest : public testing::Test {
 protected:
  FlightRecorderTest() { clock_.Advance(milliseconds(1000)); }

  uint64_t Begin(uint64_t sequence) {
    return recorder_.Begin(3, sequence, {sequence, 7}, 64, clock_.Now());
  }
  FlightRecord Read() { return ReadFlightRecord(recorder_.Copy()).value(); }

  ManualClock clock_;
  FlightRecorder recorder_{clock_, {1, 2}};
};

TEST_F(FlightRecorderTest, KeepsWhatBeganWhatEndedAndHow) {
  const uint64_t first = Begin(0);
  const uint64_t second = Begin(1);
  Begin(2);
  clock_.Advance(milliseconds(5));
  recorder_.End(first, OkStatus());
  recorder_.End(second, Timeout("too late").WithSuspectedRank(2));
  clock_.Advance(milliseconds(5));
  const FlightRecord record = Read();
  EXPECT_EQ(record.process.incarnation, (Incarnation{1, 2}));
  EXPECT_EQ(record.dumped, clock_.Now());
  ASSERT_EQ(record.operations.size(), 3u);
  EXPECT_EQ(record.operations[0].generation, 3u);
  EXPECT_EQ(record.operations[0].fingerprint, (std::array<uint64_t, 2>{0, 7}));
  EXPECT_EQ(record.operations[0].bytes, 64u);
  EXPECT_EQ(record.operations[0].ended - record.operations[0].begun, milliseconds(5));
  EXPECT_EQ(record.operations[0].status, StatusCode::kOk);
  EXPECT_EQ(record.operations[1].status, StatusCode::kTimeout);
  EXPECT_EQ(record.operations[1].suspected_rank, 2);
  EXPECT_EQ(record.operations[2].sequence, 2u);
  EXPECT_EQ(record.operations[2].ended, TimePoint{});
}

TEST_F(FlightRecorderTest, KeepsTheNewestInTheirOrder) {
  const uint64_t overtaken = Begin(0);
  for (uint64_t i = 1; i <= FlightRecorder::kOperations; ++i) Begin(i);
  // Its place is another's by now.
  recorder_.End(overtaken, Timeout("too late"));
  const FlightRecord record = Read();
  ASSERT_EQ(record.operations.size(), FlightRecorder::kOperations);
  for (size_t i = 0; i < record.operations.size(); ++i) {
    EXPECT_EQ(record.operations[i].sequence, i + 1);
    EXPECT_EQ(record.operations[i].ended, TimePoint{});
  }
}

TEST_F(FlightRecorderTest, KeepsTheNewestWorlds) {
  for (uint64_t generation = 1; generation <= 20; ++generation) {
    recorder_.EnterWorld({generation, {{0, {1, 1}}, {5, {1, 2}}}}, 1);
  }
  const FlightRecord record = Read();
  ASSERT_EQ(record.worlds.size(), FlightRecorder::kWorlds);
  EXPECT_EQ(record.worlds.front().generation, 5u);
  EXPECT_EQ(record.worlds.back().generation, 20u);
  EXPECT_EQ(record.worlds.back().members, (std::vector<MemberId>{0, 5}));
  EXPECT_EQ(record.worlds.back().rank, 1);
}

TEST_F(FlightRecorderTest, SaysWhatTheTrainingThreadDoesAndSinceWhen) {
  recorder_.SetMember(4);
  recorder_.SetActivity(Activity::kComputing, 812);
  const TimePoint since = clock_.Now();
  clock_.Advance(milliseconds(70));
  StepNumber step = 0;
  TimePoint active_since;
  EXPECT_EQ(recorder_.activity(&step, &active_since), Activity::kComputing);
  EXPECT_EQ(step, 812u);
  EXPECT_EQ(active_since, since);
  const FlightRecord record = Read();
  EXPECT_EQ(record.process.member, 4);
  EXPECT_EQ(record.activity, Activity::kComputing);
  EXPECT_EQ(record.step, 812u);
  EXPECT_EQ(record.dumped - record.active_since, milliseconds(70));
}

TEST_F(FlightRecorderTest, SaysWhatPartOfAStepTheTrainingThreadComputes) {
  const UniqueFd shared = recorder_.Share();
  ASSERT_TRUE(shared);
  EXPECT_TRUE(FlightPart(shared).IsNone());
  recorder_.SetActivity(Activity::kComputing, 5);
  EXPECT_TRUE(FlightPart(shared).IsNone());
  recorder_.BeginPart(0, 2, std::array<int64_t, 2>{70, 12});
  EXPECT_EQ(FlightPart(shared), (BatchPart{5, 0, 2, {70, 12}}));
  recorder_.EndPart();
  EXPECT_TRUE(FlightPart(shared).IsNone());
  // Of a large one the first samples are kept.
  std::vector<int64_t> many(1000);
  std::iota(many.begin(), many.end(), 500);
  recorder_.BeginPart(2, 1002, many);
  many.resize(BatchPart::kMostSamples);
  EXPECT_EQ(FlightPart(shared), (BatchPart{5, 2, 1002, many}));
  recorder_.SetActivity(Activity::kComputing, 6);
  EXPECT_TRUE(FlightPart(shared).IsNone());
  EXPECT_TRUE(FlightPart(UniqueFd()).IsNone());
  // Not what anybody computes, but what a wild write may leave.
  for (const auto& [begin, end] : {std::pair(-5, 2), std::pair(7, 7), std::pair(9, -9)}) {
    recorder_.BeginPart(begin, end, {});
    EXPECT_TRUE(FlightPart(shared).IsNone()) << begin << " " << end;
  }
}

TEST_F(FlightRecorderTest, AnotherProcessReadsTheSameMemory) {
  const UniqueFd shared = recorder_.Share();
  ASSERT_TRUE(shared);
  Begin(17);
  auto newest = CopyNewestOfFlight(shared, clock_.Now());
  ASSERT_TRUE(newest.ok()) << newest.status();
  auto copy = CopyFlight(shared, *newest);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*copy, recorder_.Copy());
  EXPECT_EQ(ReadFlightRecord(*copy)->operations.front().sequence, 17u);
}

TEST_F(FlightRecorderTest, WhatIsWrittenLaterIsAsItWasWhenItsNewestWereCopied) {
  const UniqueFd shared = recorder_.Share();
  ASSERT_TRUE(shared);
  // Before the ring is full, and around its end.
  for (const uint64_t begun : {5u, 4000u, 40u, 60u, 4096u}) {
    for (uint64_t i = 0; i < begun; ++i) recorder_.End(Begin(i), OkStatus());
    const uint64_t under_way = Begin(begun);
    recorder_.SetActivity(Activity::kReducing, begun);
    const std::string then = recorder_.Copy();
    auto newest = CopyNewestOfFlight(shared, clock_.Now());
    ASSERT_TRUE(newest.ok()) << newest.status();
    EXPECT_LT(newest->size(), 40u << 10);
    recorder_.End(under_way, Aborted("a rank is lost"));
    recorder_.SetActivity(Activity::kCatchingUp, begun);
    for (uint64_t i = 0; i < 100; ++i) Begin(i);
    auto copy = CopyFlight(shared, *newest);
    ASSERT_TRUE(copy.ok()) << copy.status();
    const FlightRecord expected = ReadFlightRecord(then).value();
    const FlightRecord record = ReadFlightRecord(*copy).value();
    EXPECT_EQ(record.activity, Activity::kReducing);
    EXPECT_EQ(record.dumped, expected.dumped);
    ASSERT_GE(record.operations.size() + 100, expected.operations.size());
    ASSERT_LE(record.operations.size(), expected.operations.size());
    auto old = expected.operations.rbegin();
    for (auto it = record.operations.rbegin(); it != record.operations.rend(); ++it, ++old) {
      ASSERT_EQ(it->number, old->number);
      ASSERT_EQ(it->ended, old->ended);
    }
    EXPECT_EQ(record.operations.back().ended, TimePoint()) << "it was under way";
  }
}

TEST_F(FlightRecorderTest, WithoutSharedMemoryOnlyThisProcessDumpsIt) {
  FlightRecorder alone(clock_, {1, 2}, FlightRecorder::Kind::kPrivate);
  alone.Begin(1, 0, {}, 4, clock_.Now());
  EXPECT_FALSE(alone.Share());
  EXPECT_EQ(ReadFlightRecord(alone.Copy()).value().operations.size(), 1u);
}

TEST_F(FlightRecorderTest, WhatWasBeingWrittenIsLeftOut) {
  Begin(0);
  const std::string before = recorder_.Copy();
  for (uint64_t i = 1; i <= FlightRecorder::kOperations; ++i) Begin(i);
  const std::string after = recorder_.Copy();
  // A copy that was overtaken by the writer at some place has the old bytes before it and the new
  // ones behind: whatever the place, nothing that is read is made of both.
  int torn_places = 0;
  for (size_t at = 0; at < before.size() && torn_places < 200; at += 8) {
    if (before.compare(at, 8, after, at, 8) == 0) continue;
    ++torn_places;
    const std::string torn = before.substr(0, at) + after.substr(at);
    const FlightRecord record = ReadFlightRecord(torn).value();
    for (const FlightOperation& operation : record.operations) {
      EXPECT_EQ(operation.number, operation.sequence + 1);
      EXPECT_EQ(operation.fingerprint[0], operation.sequence);
    }
  }
  EXPECT_EQ(torn_places, 200);
}

TEST_F(FlightRecorderTest, OtherFilesAreRefused) {
  const std::string dump = recorder_.Copy();
  EXPECT_EQ(ReadFlightRecord("").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFlightRecord(dump.substr(1)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFlightRecord(std::string(dump.size(), '\0')).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace closeranks::telemetry
