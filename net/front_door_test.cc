#include "net/front_door.h"

#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/socket_network.h"

namespace closeranks::net {
namespace {

constexpr uint64_t kJob = 0x1234;

Preamble To(MemberId member) {
  return {.role = ConnectionRole::kMembership,
          .job_hash = kJob,
          .destination = {.member = member, .incarnation = {.high = 1, .low = 2}},
          .sender = 7};
}

class FrontDoorTest : public testing::Test {
 protected:
  void Open(FrontDoor::Options options) {
    options.job_hash = kJob;
    Result<std::unique_ptr<FrontDoor>> door =
        FrontDoor::Open(loop_, network_, Address::Ip("127.0.0.1", 0), options,
                        [this](const Preamble& preamble, std::unique_ptr<Socket> socket) {
                          routed_.push_back(preamble);
                          sockets_.push_back(std::move(socket));
                          if (close_when_routed_) door_.reset();
                        });
    CHECK(door.ok()) << door.status();
    door_ = *std::move(door);
  }

  // A connection that the door has accepted, from another address of this machine.
  UniqueFd Connect(const std::string& from = "127.0.0.1") {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress own = ToSocketAddress(Address::Ip(from, 0)).value();
    PCHECK(bind(fd.get(), own.get(), own.length) == 0);
    SocketAddress target = ToSocketAddress(door_->address()).value();
    PCHECK(connect(fd.get(), target.get(), target.length) == 0);
    const uint64_t before = door_->counts().accepted;
    while (door_->counts().accepted == before) loop_.PollOnce(Duration::max());
    return fd;
  }

  void Send(const UniqueFd& fd, std::string_view bytes) {
    ASSERT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), std::ssize(bytes));
  }

  // Polls until `count` is 1: what was sent over loopback is there, or will be.
  void PollUntilOne(const uint64_t& count) {
    while (count == 0) loop_.PollOnce(Duration::max());
    EXPECT_EQ(count, 1u);
  }

  ManualClock clock_;
  EventLoop loop_{clock_};
  SocketNetwork network_{loop_};
  std::unique_ptr<FrontDoor> door_;
  bool close_when_routed_ = false;
  std::vector<Preamble> routed_;
  std::vector<std::unique_ptr<Socket>> sockets_;
};

TEST_F(FrontDoorTest, RoutesByThePreambleAndLeavesWhatFollows) {
  Open({});
  UniqueFd fd = Connect();
  Send(fd, EncodePreamble(To(3)) + "the handshake");
  PollUntilOne(door_->counts().routed);
  ASSERT_EQ(routed_.size(), 1u);
  EXPECT_EQ(routed_[0], To(3));
  char rest[100];
  const ssize_t count = recv(sockets_[0]->descriptor(), rest, sizeof(rest), 0);
  EXPECT_EQ(std::string(rest, static_cast<size_t>(count)), "the handshake");
  EXPECT_EQ(door_->pending(), 0u);
}

TEST_F(FrontDoorTest, APreambleMayComeInPieces) {
  Open({});
  UniqueFd fd = Connect();
  for (const char byte : EncodePreamble(To(3))) {
    EXPECT_TRUE(routed_.empty());
    Send(fd, {&byte, 1});
    loop_.PollOnce(Duration::max());
  }
  EXPECT_EQ(routed_.size(), 1u);
}

TEST_F(FrontDoorTest, EveryDropIsCountedByItsReason) {
  Open({});
  UniqueFd garbage = Connect();
  Send(garbage, std::string(kPreambleBytes, '?'));
  PollUntilOne(door_->counts().garbage);

  UniqueFd other_job = Connect();
  Preamble preamble = To(3);
  preamble.role = ConnectionRole::kData;
  preamble.job_hash = kJob + 1;
  Send(other_job, EncodePreamble(preamble));
  PollUntilOne(door_->counts().other_job);

  UniqueFd early = Connect();
  Send(early, "DOOR");
  early.Reset();
  PollUntilOne(door_->counts().closed_early);

  EXPECT_TRUE(routed_.empty());
  EXPECT_EQ(door_->pending(), 0u);
  char byte;
  EXPECT_EQ(recv(other_job.get(), &byte, 1, 0), 0) << "a dropped connection is closed";
}

TEST_F(FrontDoorTest, WhoSaysNothingIsDroppedAtTheTimeLimit) {
  Open({});
  UniqueFd silent = Connect();
  UniqueFd dribbling = Connect();
  clock_.Advance(std::chrono::milliseconds(4999));
  Send(dribbling, "D");  // doesn't buy more time
  loop_.PollOnce(Duration::max());
  EXPECT_EQ(door_->pending(), 2u);
  clock_.Advance(std::chrono::milliseconds(1));
  loop_.PollOnce(Duration::zero());
  EXPECT_EQ(door_->counts().too_slow, 2u);
  EXPECT_EQ(door_->pending(), 0u);
}

TEST_F(FrontDoorTest, ACrowdOfIdlersKeepsNobodyOut) {
  Open({.max_pending = 3});
  std::vector<UniqueFd> idlers;
  for (int i = 0; i < 10; ++i) {
    idlers.push_back(Connect());
    EXPECT_LE(door_->pending(), 3u);
  }
  EXPECT_EQ(door_->counts().crowded_out, 7u);
  UniqueFd ours = Connect();
  Send(ours, EncodePreamble(To(0)));
  PollUntilOne(door_->counts().routed);
}

TEST_F(FrontDoorTest, ACrowdFromOneAddressKeepsNobodyElseWaitingOut) {
  Open({.max_pending = 3});
  UniqueFd ours = Connect("127.0.0.2");
  std::vector<UniqueFd> idlers;
  for (int i = 0; i < 10; ++i) idlers.push_back(Connect());
  EXPECT_EQ(door_->counts().crowded_out, 8u);
  Send(ours, EncodePreamble(To(0)));
  PollUntilOne(door_->counts().routed);
}

TEST_F(FrontDoorTest, WhoCallsTooOftenHasToWaitAndOthersDont) {
  Open({.calls = {.burst = 5, .per_second = 1}});
  std::vector<UniqueFd> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Connect());
  EXPECT_EQ(door_->counts().too_often, 15u);
  EXPECT_EQ(door_->pending(), 5u);
  char byte;
  EXPECT_EQ(recv(calls.back().get(), &byte, 1, 0), 0) << "it is closed at once";
  UniqueFd other = Connect("127.0.0.2");
  Send(other, EncodePreamble(To(0)));
  PollUntilOne(door_->counts().routed);
  // Ours behind the same address gets through with one of its next calls.
  clock_.Advance(std::chrono::seconds(1));
  UniqueFd ours = Connect();
  Send(ours, EncodePreamble(To(1)));
  while (routed_.size() < 2) loop_.PollOnce(Duration::max());
  EXPECT_EQ(routed_[1], To(1));
}

TEST_F(FrontDoorTest, WhatWorkersMayCallIsNoLeaveToOccupyTheSupervisor) {
  Open({.calls = {.burst = 100}, .membership_calls = {.burst = 2, .per_second = 0}});
  Preamble data = To(3);
  data.role = ConnectionRole::kData;
  std::vector<UniqueFd> calls;
  for (int i = 0; i < 20; ++i) {
    calls.push_back(Connect());
    Send(calls.back(), EncodePreamble(i % 2 == 0 ? data : To(3)));
  }
  UniqueFd ours = Connect("127.0.0.2");
  Send(ours, EncodePreamble(To(1)));
  while (door_->pending() > 0) loop_.PollOnce(Duration::max());
  EXPECT_EQ(door_->counts().too_often, 8u);
  EXPECT_EQ(std::count(routed_.begin(), routed_.end(), data), 10);
  EXPECT_EQ(std::count(routed_.begin(), routed_.end(), To(3)), 2);
  EXPECT_EQ(std::count(routed_.begin(), routed_.end(), To(1)), 1);
}

TEST_F(FrontDoorTest, MayBeDestroyedByWhoIsRouted) {
  Open({});
  close_when_routed_ = true;
  UniqueFd waiting = Connect();
  UniqueFd fd = Connect();
  Send(fd, EncodePreamble(To(1)));
  while (door_) loop_.PollOnce(Duration::max());
  EXPECT_EQ(routed_.size(), 1u);
}

TEST_F(FrontDoorTest, AMembershipConnectionOfAnotherJobGoesToItsHandshake) {
  Open({});
  UniqueFd fd = Connect();
  Preamble preamble = To(3);
  preamble.job_hash = kJob + 1;
  Send(fd, EncodePreamble(preamble));
  PollUntilOne(door_->counts().routed);
  EXPECT_EQ(routed_, std::vector<Preamble>{preamble});
}

}  // namespace
}  // namespace closeranks::net
