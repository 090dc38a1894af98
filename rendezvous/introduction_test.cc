#include "rendezvous/introduction.h"

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

constexpr Duration kLimit = std::chrono::seconds(5);

Identity Make(MemberId member) { return {"job", {member, {1, 1}}, "build", "kernels", "batch=1"}; }

std::pair<UniqueFd, UniqueFd> MakePair() {
  std::array<int, 2> ends;
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

bool IsClosed(const UniqueFd& end) {
  char byte;
  return recv(end.get(), &byte, 1, MSG_DONTWAIT) == 0;
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
  Introductions low(loop_, random_, Make(0), "key", kLimit);
  Introductions high(loop_, random_, Make(1), "key", kLimit);
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

TEST_F(IntroductionsTest, StrangersBeyondTheBoundAreTurnedAwayUntilOthersEnd) {
  Introductions introductions(loop_, random_, Make(0), "key", kLimit);
  size_t ended = 0;
  auto call = [&] {
    auto [ours, theirs] = MakePair();
    introductions.Begin(std::move(ours), Handshake::Role::kResponder,
                        [&ended](Result<Acquaintance>) { ++ended; });
    return std::move(theirs);
  };
  std::vector<UniqueFd> strangers;
  for (size_t i = 0; i < Introductions::kMost; ++i) strangers.push_back(call());
  for (const UniqueFd& stranger : strangers) EXPECT_FALSE(IsClosed(stranger));
  EXPECT_TRUE(IsClosed(call()));
  EXPECT_EQ(ended, 0u);

  clock_.Advance(2 * kLimit);
  PollUntilQuiet();
  EXPECT_EQ(ended, Introductions::kMost);
  EXPECT_FALSE(IsClosed(call()));
}

}  // namespace
}  // namespace closeranks::rendezvous
