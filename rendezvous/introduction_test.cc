#include "rendezvous/introduction.h"

#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/system_socket.h"

namespace closeranks::rendezvous {
namespace {

constexpr Duration kLimit = std::chrono::seconds(5);
constexpr size_t kMost = 10;

Identity Make(MemberId member) {
  return {"job", {member, {1, 1}}, {"build", "kernels", "batch=1"}};
}

using Socket = std::unique_ptr<net::Socket>;

std::pair<Socket, Socket> MakePair() { return net::SystemSocket::MakePair().value(); }

bool IsClosed(const Socket& end) {
  char byte;
  return recv(end->descriptor(), &byte, 1, MSG_DONTWAIT) == 0;
}

class IntroductionsTest : public testing::Test {
 protected:
  void PollUntilQuiet() {
    while (loop_.PollOnce(Duration::zero()) > 0) {
    }
  }

  ManualClock clock_;
  SeededRandom random_{1};
  net::EventLoop loop_{clock_};
};

TEST_F(IntroductionsTest, BothSidesHearOnceWhoTheOtherIs) {
  Introductions low(loop_, random_, Make(0), "key", kLimit, kMost);
  Introductions high(loop_, random_, Make(1), "key", kLimit, kMost);
  auto [a, b] = MakePair();
  std::vector<MemberId> heard;
  auto note = [&heard](Result<Acquaintance> result) {
    ASSERT_TRUE(result.ok()) << result.status();
    heard.push_back(result->peer.process.member);
  };
  low.Begin(std::move(a), Handshake::Role::kResponder, note);
  high.Begin(std::move(b), Handshake::Role::kInitiator, note);
  PollUntilQuiet();
  clock_.Advance(2 * kLimit);
  PollUntilQuiet();
  EXPECT_EQ(heard.size(), 2u);
}

TEST_F(IntroductionsTest, ADifferenceIsNamedToBothSides) {
  Identity odd = Make(1);
  odd.terms.configuration = "batch=2";
  Introductions low(loop_, random_, Make(0), "key", kLimit, kMost);
  Introductions high(loop_, random_, odd, "key", kLimit, kMost);
  for (bool low_calls : {false, true}) {
    auto [a, b] = MakePair();
    std::vector<Status> heard;
    auto note = [&heard](Result<Acquaintance> result) { heard.push_back(result.status()); };
    using Role = Handshake::Role;
    low.Begin(std::move(a), low_calls ? Role::kInitiator : Role::kResponder, note);
    high.Begin(std::move(b), low_calls ? Role::kResponder : Role::kInitiator, note);
    PollUntilQuiet();
    ASSERT_EQ(heard.size(), 2u);
    for (const Status& status : heard) {
      EXPECT_EQ(status.code(), StatusCode::kMismatch) << status;
      EXPECT_NE(status.message().find("batch=1"), std::string::npos) << status;
      EXPECT_NE(status.message().find("batch=2"), std::string::npos) << status;
    }
  }
}

TEST_F(IntroductionsTest, WhatAStrangerSendsIsNoMismatch) {
  Introductions introductions(loop_, random_, Make(0), "key", kLimit, kMost);
  const std::string forged = net::EncodeFrame({.kind = net::FrameKind::kHello}, "\4\1 differs");
  std::string torn = forged;
  torn.back() ^= 1;
  for (const std::string& bytes :
       {std::string(200, '?'), std::string(5, '\0'), std::string(), forged, torn}) {
    for (Handshake::Role role : {Handshake::Role::kInitiator, Handshake::Role::kResponder}) {
      auto [ours, theirs] = MakePair();
      std::optional<Status> heard;
      introductions.Begin(std::move(ours), role,
                          [&heard](Result<Acquaintance> result) { heard = result.status(); });
      (void)send(theirs->descriptor(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      theirs.reset();
      PollUntilQuiet();
      ASSERT_TRUE(heard.has_value());
      EXPECT_TRUE(heard->code() == StatusCode::kUnavailable ||
                  heard->code() == StatusCode::kUnauthenticated)
          << *heard;
    }
  }
}

TEST_F(IntroductionsTest, OfStrangersBeyondTheBoundTheOldestGoes) {
  Introductions introductions(loop_, random_, Make(0), "key", kLimit, kMost);
  size_t ended = 0;
  auto begin = [&](Handshake::Role role) {
    auto [ours, theirs] = MakePair();
    introductions.Begin(std::move(ours), role, [&ended](Result<Acquaintance>) { ++ended; });
    return std::move(theirs);
  };
  const Socket called = begin(Handshake::Role::kInitiator);
  std::vector<Socket> strangers;
  for (size_t i = 0; i <= kMost; ++i) strangers.push_back(begin(Handshake::Role::kResponder));
  EXPECT_TRUE(IsClosed(strangers.front()));
  for (size_t i = 1; i <= kMost; ++i) EXPECT_FALSE(IsClosed(strangers[i]));
  EXPECT_EQ(ended, 0u);

  clock_.Advance(2 * kLimit);
  PollUntilQuiet();
  EXPECT_EQ(ended, kMost + 1) << "whoever wasn't sent away, the one that was called among them";
}

}  // namespace
}  // namespace closeranks::rendezvous
