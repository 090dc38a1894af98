#include "rendezvous/messages.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

DecisionRef MakeDecision() {
  auto decision = std::make_shared<Decision>();
  decision->lineage = {1, 1};
  decision->generation = 1;
  decision->members = {{0, {2, 1}, {3, 1}, "a", 2}, {1, {2, 2}, {}, "", 1}};
  decision->history = {{0, 7, 8}};
  decision->resume = {7, 0, 8};
  decision->floor = 7;
  return decision;
}

AgentReport MakeReport() { return {{3, 1}, false, true, true, false, true, false, {1, 2, 9}}; }

std::vector<Message> OneOfEachKind() {
  const Ballot ballot{3, 1, {2, 2}};
  std::vector<MessageBody> bodies;
  bodies.push_back(StatusMessage{5, MakeReport(), true, true, false, true});
  bodies.emplace_back(PrepareMessage{ballot});
  bodies.push_back(PromiseMessage{ballot,
                                  AcceptedValue{{2, 0, {2, 1}}, MakeDecision()},
                                  MakeReport(),
                                  "card",
                                  {"b", "k", "c"},
                                  WorkerState{4, 1, 5},
                                  std::chrono::seconds(3)});
  bodies.emplace_back(RejectMessage{ballot, {4, 0, {2, 1}}});
  bodies.push_back(AcceptMessage{ballot, MakeDecision()});
  bodies.emplace_back(AcceptedMessage{ballot});
  bodies.push_back(DecidedMessage{MakeDecision()});
  bodies.push_back(LossMessage{"killed", {3, 1}, {5, 16, 24, {1000, 7}}});
  bodies.push_back(NoticeMessage{"is slow"});
  std::vector<Message> messages;
  for (MessageBody& body : bodies) {
    messages.push_back({{1, {2, 2}}, {2, 1}, {1, 1}, 1, std::move(body)});
  }
  return messages;
}

TEST(Messages, EveryKindSurvivesTheWire) {
  for (const Message& message : OneOfEachKind()) {
    const std::string bytes = Encode(message);
    auto decoded = DecodeMessage(bytes);
    ASSERT_TRUE(decoded.ok()) << KindName(message) << ": " << decoded.status();
    EXPECT_EQ(decoded->from, message.from);
    EXPECT_EQ(decoded->to, message.to);
    EXPECT_EQ(decoded->generation, message.generation);
    EXPECT_EQ(KindName(*decoded), KindName(message));
    EXPECT_EQ(Encode(*decoded), bytes);
  }
}

// Run by hand, outside of Bazel, it leaves what the corpus should have.
TEST(Messages, TheFuzzersCorpusHasOneOfEachKindInTodaysFormat) {
  for (const Message& message : OneOfEachKind()) {
    const std::string name(KindName(message)), wanted = testing::TempDir() + name;
    std::ifstream in("rendezvous/messages_corpus/" + name, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    if (bytes == Encode(message)) continue;
    std::ofstream(wanted, std::ios::binary) << Encode(message);
    ADD_FAILURE() << name << " should be as " << wanted;
  }
}

TEST(Messages, AMessageThatIsCutAnywhereIsRefused) {
  for (const Message& message : OneOfEachKind()) {
    const std::string bytes = Encode(message);
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_FALSE(DecodeMessage(std::string_view(bytes).substr(0, length)).ok());
    }
    EXPECT_FALSE(DecodeMessage(bytes + "x").ok());
  }
}

TEST(Messages, AChangedByteNeverCrashesTheReader) {
  for (const Message& message : OneOfEachKind()) {
    const std::string bytes = Encode(message);
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (int change : {1, 0x7f, 0xff}) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ change);
        auto decoded = DecodeMessage(changed);
        if (!decoded.ok()) continue;
        auto again = DecodeMessage(Encode(*decoded));
        ASSERT_TRUE(again.ok());
        EXPECT_EQ(Encode(*again), Encode(*decoded));
      }
    }
  }
}

TEST(Messages, AnInvalidDecisionIsRefused) {
  auto decision = std::make_shared<Decision>(*MakeDecision());
  decision->members[1].weight = 5;
  const Message message{{1, {2, 2}}, {2, 1}, {1, 1}, 1, DecidedMessage{decision}};
  EXPECT_EQ(DecodeMessage(Encode(message)).status().code(), StatusCode::kInvalidArgument);
}

TEST(Messages, APartThatIsNoneOfABatchIsRefused) {
  const std::vector<int64_t> many(BatchPart::kMostSamples + 1);
  for (const BatchPart& part : {BatchPart{5, -1, 2, {}}, BatchPart{5, 3, 2, {}},
                                BatchPart{5, 0, 1, {1, 2}}, BatchPart{5, 0, 1000, many}}) {
    const Message message{{1, {2, 2}}, {2, 1}, {1, 1}, 1, LossMessage{"killed", {3, 1}, part}};
    EXPECT_EQ(DecodeMessage(Encode(message)).status().code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace closeranks::rendezvous
