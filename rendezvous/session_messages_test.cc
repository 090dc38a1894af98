#include "rendezvous/session_messages.h"

#include <memory>

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

template <typename Message, typename T>
void ExpectRoundTrip(Result<Message> (*decode)(std::string_view), const T& message) {
  std::string bytes = Encode(Message(message));
  auto decoded = decode(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_TRUE(std::holds_alternative<T>(*decoded));
  EXPECT_EQ(std::get<T>(*decoded), message);
  // Nothing shorter and nothing longer is the message.
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode(std::string_view(bytes).substr(0, length)).ok()) << length;
  }
  EXPECT_EQ(decode(bytes + "x").status().code(), StatusCode::kInvalidArgument);
}

Decision SomeDecision() {
  Decision decision;
  decision.lineage = {1, 2};
  decision.generation = 1;
  decision.members = {{0, {3, 3}, {4, 4}, "card", 2}, {1, {5, 5}, {6, 6}, "", 1}};
  decision.history = {{0, 0, 0}};
  return decision;
}

TEST(SessionMessages, WhatTheAgentSaysArrivesAsItWas) {
  ExpectRoundTrip(
      DecodeAgentMessage,
      Welcome{"job",
              {{std::string("k\0y", 3), "new"}, "/keys", {"/c", "/k", "/a"}, {"c", "k", "a"}, true},
              3,
              4,
              8,
              "host:1",
              true,
              true});
  ExpectRoundTrip(DecodeAgentMessage, Freeze{7});
  ExpectRoundTrip(DecodeAgentMessage, Ended{ExitCode::kQuorumLost, "why", {7, 2, 99}});
  ExpectRoundTrip(DecodeAgentMessage, DataConnection{5});
  ExpectRoundTrip(DecodeAgentMessage, Leave{std::chrono::seconds(9)});
  ExpectRoundTrip(DecodeAgentMessage, Lost{2, "killed", true});
  ExpectRoundTrip(DecodeAgentMessage, Noticed{2, "is slow"});
  ExpectRoundTrip(DecodeAgentMessage, FailingHeard{3});
  auto install = DecodeAgentMessage(
      Encode(AgentMessage(Install{std::make_shared<const Decision>(SomeDecision())})));
  ASSERT_TRUE(install.ok()) << install.status();
  EXPECT_EQ(*std::get<Install>(*install).decision, SomeDecision());
}

TEST(SessionMessages, WhatTheWorkerSaysArrivesAsItWas) {
  const WorkerState state = {7, 3, 99};
  ExpectRoundTrip(DecodeWorkerMessage, Hello{{1, 2}, 4711});
  ExpectRoundTrip(DecodeWorkerMessage, Ready{"card", {"b", "k", "c"}, state});
  ExpectRoundTrip(DecodeWorkerMessage, Ready{"", {}, std::nullopt});
  ExpectRoundTrip(DecodeWorkerMessage, Frozen{9, state});
  ExpectRoundTrip(DecodeWorkerMessage, Frozen{9, std::nullopt});
  ExpectRoundTrip(DecodeWorkerMessage, Failure{9, {2, {1, 1}}, "reset", true});
  ExpectRoundTrip(DecodeWorkerMessage, Done{});
  ExpectRoundTrip(DecodeWorkerMessage, Progress{7, 20, 1, true, 0.25, 12, 4, 3});
  ExpectRoundTrip(DecodeWorkerMessage, LifelineEnd{});
  ExpectRoundTrip(DecodeWorkerMessage, Goodbye{});
  ExpectRoundTrip(DecodeWorkerMessage, Entered{3});
  ExpectRoundTrip(DecodeWorkerMessage, Leaving{true});
  ExpectRoundTrip(DecodeWorkerMessage, Failing{"boom", true});
  ExpectRoundTrip(DecodeWorkerMessage, FlightMemory{});
  ExpectRoundTrip(DecodeWorkerMessage, Notice{"is stuck", true});
}

TEST(SessionMessages, ADecisionThatContradictsItselfIsRefused) {
  Decision wrong = SomeDecision();
  wrong.members[1].member = 0;
  std::string bytes =
      Encode(AgentMessage(Install{std::make_shared<const Decision>(std::move(wrong))}));
  EXPECT_EQ(DecodeAgentMessage(bytes).status().code(), StatusCode::kInvalidArgument);
}

TEST(SessionMessages, GarbageIsRefused) {
  SeededRandom random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes;
    for (uint64_t length = random.Below(60); length > 0; --length) {
      bytes.push_back(static_cast<char>(random.Next()));
    }
    // Mostly kinds that exist.
    if (!bytes.empty() && i % 4 != 0) bytes[0] = static_cast<char>(random.Below(14));
    (void)DecodeAgentMessage(bytes);
    (void)DecodeWorkerMessage(bytes);
  }
  EXPECT_FALSE(DecodeAgentMessage("").ok());
  EXPECT_FALSE(DecodeWorkerMessage("\xff").ok());
}

}  // namespace
}  // namespace closeranks::rendezvous
