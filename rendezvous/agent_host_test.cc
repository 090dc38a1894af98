// Hosts of agents on this machine's loopback, in one process.
#include "rendezvous/agent_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "net/background.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/socket_network.h"

namespace closeranks::rendezvous {
namespace {

class AgentHostTest : public testing::Test {
 protected:
  struct Host {
    std::unique_ptr<Credentials> credentials;
    std::unique_ptr<AgentHost> host;
    std::vector<Agent::Ending> endings;
    std::vector<Status> mismatches;
  };

  // Host `index` of two, with one member each.
  // The second one calls the first, or whoever is at `called`.
  std::unique_ptr<Host> Open(int index, const std::string& key, int starting_members = 2,
                             std::optional<net::Address> called = std::nullopt,
                             const std::string& build = "build 1",
                             const std::string& key_file = "") {
    auto host = std::make_unique<Host>();
    AgentHost::Options options;
    Security security;
    if (!key.empty()) security.keys = {key};
    security.key_file = key_file;
    std::unique_ptr<net::Background> disk;
    if (security.has_files()) {
      disk =
          std::make_unique<net::BackgroundThread>(clock_, "credentials", std::chrono::seconds(1));
    }
    host->credentials = Credentials::Open(loop_, files_, security, std::move(disk)).value();
    options.credentials = host->credentials.get();
    options.build = build;
    options.members = {index};
    options.starting_members = starting_members;
    options.peers = {{1 - index}};
    // The first host is called; nobody is where it calls.
    net::Address other = net::Address::Ip("127.0.0.1", 1);
    if (index == 1) other = called.has_value() ? *called : first_->host->address();
    options.whereabouts.hosts = {other};
    options.membership.join_timeout = join_timeout_;
    options.membership.watchers = watchers_;
    auto opened = AgentHost::Open(
        loop_, network_, random_, options,
        [raw = host.get()](MemberId) {
          Agent::Owner owner;
          owner.kill_worker = [](const std::string&, TimePoint) {};
          owner.on_hung_up = [] {};
          owner.on_progress = [](const Progress&) {};
          owner.on_hello = [](const Hello&) {};
          owner.on_ready = [] {};
          owner.on_failing = [](const Failing&) { return MemberId{-1}; };
          owner.on_lifeline = [](std::unique_ptr<net::Socket>) {};
          owner.on_flight_memory = [](std::unique_ptr<net::Socket>) {};
          owner.on_timeout = [] {};
          owner.on_notice = [](const Notice&) {};
          owner.on_outcome = [raw](const Agent::Ending& end) { raw->endings.push_back(end); };
          return owner;
        },
        [raw = host.get()](const Status& why) { raw->mismatches.push_back(why); });
    EXPECT_TRUE(opened.ok()) << opened.status();
    host->host = *std::move(opened);
    return host;
  }

  template <typename Condition>
  void PollUntil(Condition condition) {
    while (!condition()) loop_.PollOnce(Duration::max());
  }

  // Sends these bytes to the first host, and polls until it has closed.
  void SendGarbage(const std::string& bytes) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto address = net::ToSocketAddress(first_->host->address());
    ASSERT_TRUE(address.ok());
    ASSERT_EQ(connect(fd.get(), address->get(), address->length), 0);
    (void)send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    shutdown(fd.get(), SHUT_WR);
    char byte;
    ssize_t got;
    while ((got = recv(fd.get(), &byte, 1, MSG_DONTWAIT)) != 0) {
      if (got < 0 && errno != EAGAIN) break;
      loop_.PollOnce(got < 0 ? Duration(std::chrono::milliseconds(1)) : Duration(0));
    }
  }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  SystemFiles files_;
  net::SocketNetwork network_{loop_};
  SystemRandom random_;
  Duration join_timeout_ = std::chrono::seconds(300);
  int watchers_ = 8;
  std::unique_ptr<Host> first_;
  std::unique_ptr<Host> second_;
};

TEST_F(AgentHostTest, TwoHostsWithTheKeyAreLinkedAndHangUpInOrder) {
  first_ = Open(0, "key");
  second_ = Open(1, "key");
  PollUntil([&] { return first_->host->HasLinks() && second_->host->HasLinks(); });
  second_->host->HangUp();
  PollUntil([&] { return !second_->host->HasLinks(); });
  PollUntil([&] { return !first_->host->HasLinks(); });
}

TEST_F(AgentHostTest, AHostThatComesBackIsLinkedAgain) {
  first_ = Open(0, "key");
  second_ = Open(1, "key");
  PollUntil([&] { return first_->host->HasLinks(); });
  second_.reset();
  PollUntil([&] { return !first_->host->HasLinks(); });
  second_ = Open(1, "key");
  PollUntil([&] { return first_->host->HasLinks(); });
}

TEST_F(AgentHostTest, AnotherKeyGetsNoLinkAndIsTheReasonInTheEndForWhoCalled) {
  join_timeout_ = std::chrono::milliseconds(300);
  first_ = Open(0, "key");
  second_ = Open(1, "another");
  PollUntil([&] { return !first_->endings.empty() && !second_->endings.empty(); });
  for (const Host* host : {first_.get(), second_.get()}) {
    EXPECT_FALSE(host->host->HasLinks());
    EXPECT_EQ(host->endings[0].outcome, Outcome::kJoinTimedOut);
    EXPECT_NE(host->endings[0].reason.find("doesn't have the job's key"), std::string::npos)
        << host->endings[0].reason;
  }
  EXPECT_EQ(second_->endings[0].exit_code, ExitCode::kUnauthenticated);
  // Whoever called the first one, its peer never came.
  EXPECT_EQ(first_->endings[0].exit_code, ExitCode::kJoinTimeout);
  EXPECT_NE(first_->endings[0].reason.find("callers that were refused: "), std::string::npos)
      << first_->endings[0].reason;
}

TEST_F(AgentHostTest, AnotherConfigurationIsToldToBothWithBothValues) {
  first_ = Open(0, "key", 2);
  second_ = Open(1, "key", 3);
  PollUntil([&] { return !first_->mismatches.empty() && !second_->mismatches.empty(); });
  for (const Host* host : {first_.get(), second_.get()}) {
    const std::string& text = host->mismatches[0].message();
    EXPECT_NE(text.find("members=2"), std::string::npos) << text;
    EXPECT_NE(text.find("members=3"), std::string::npos) << text;
  }
}

TEST_F(AgentHostTest, AnotherNumberOfWatchersIsAnotherConfiguration) {
  first_ = Open(0, "key");
  watchers_ = 3;
  second_ = Open(1, "key");
  PollUntil([&] { return !first_->mismatches.empty() && !second_->mismatches.empty(); });
  EXPECT_NE(first_->mismatches[0].message().find("watchers=3"), std::string::npos);
}

TEST_F(AgentHostTest, KeysAreChangedWithoutARestartAndLinksStay) {
  const std::string old_key = "0123456789abcdef", new_key = "fedcba9876543210";
  const std::string mine = testing::TempDir() + "/first-keys", theirs = mine + "-of-the-second";
  ASSERT_TRUE(files_.Replace(mine, old_key).ok());
  ASSERT_TRUE(files_.Replace(theirs, old_key).ok());
  first_ = Open(0, "", 2, std::nullopt, "build 1", mine);
  second_ = Open(1, "", 2, std::nullopt, "build 1", theirs);
  const auto are_linked = [&] { return first_->host->HasLinks() && second_->host->HasLinks(); };
  PollUntil(are_linked);
  const auto change = [&](const std::string& path, const std::string& text) {
    ASSERT_TRUE(files_.Replace(path, text).ok());
    Credentials& changed = path == mine ? *first_->credentials : *second_->credentials;
    const Keys before = changed.keys();
    while (changed.keys() == before) {
      loop_.PollOnce(Duration::max());
      changed.LookAgain();
      ASSERT_TRUE(are_linked()) << "a standing link was lost";
    }
    // Then a new process of the second host.
    second_.reset();
    PollUntil([&] { return !first_->host->HasLinks(); });
    second_ = Open(1, "", 2, std::nullopt, "build 1", theirs);
    PollUntil(are_linked);
  };
  change(mine, old_key + "\n" + new_key);
  change(theirs, old_key + "\n" + new_key);
  change(theirs, new_key);
  change(mine, new_key);
  // Whoever still has only the old one isn't let in any more.
  second_.reset();
  ASSERT_TRUE(files_.Replace(theirs, old_key).ok());
  join_timeout_ = std::chrono::milliseconds(300);
  second_ = Open(1, "", 2, std::nullopt, "build 1", theirs);
  PollUntil([&] { return !second_->endings.empty(); });
  EXPECT_EQ(second_->endings[0].exit_code, ExitCode::kUnauthenticated);
}

// A refusal by somebody without the key.
std::string ForgedRefusal() {
  return net::EncodeFrame({.kind = net::FrameKind::kHello}, "\4\1configuration differs");
}

TEST_F(AgentHostTest, WhatStrangersSayAtThePortIsNoMismatch) {
  first_ = Open(0, "key");
  const std::string preamble = net::EncodePreamble(
      {net::ConnectionRole::kMembership, net::HashJobName("closeranks"), {0, {}}, 1});
  for (const std::string& said : {std::string(200, '?'), ForgedRefusal()}) {
    SendGarbage(preamble + said);
  }
  second_ = Open(1, "key");
  PollUntil([&] { return first_->host->HasLinks() && second_->host->HasLinks(); });
  EXPECT_TRUE(first_->mismatches.empty());
  EXPECT_TRUE(first_->endings.empty());
}

TEST_F(AgentHostTest, WhatAStrangerAtAPeersAddressAnswersIsNoMismatch) {
  for (const std::string& said : {std::string(200, '?'), ForgedRefusal()}) {
    std::vector<std::unique_ptr<net::Socket>> callers;
    auto listener = network_.Listen(net::Address::Ip("127.0.0.1", 0),
                                    [&](std::unique_ptr<net::Socket> caller, const net::Address&) {
                                      (void)send(caller->descriptor(), said.data(), said.size(), 0);
                                      callers.push_back(std::move(caller));
                                    });
    ASSERT_TRUE(listener.ok()) << listener.status();
    second_ = Open(1, "key", 2, (*listener)->address());
    // Not until it has looked at the first answer does it call again.
    PollUntil([&] { return callers.size() == 2; });
    EXPECT_TRUE(second_->mismatches.empty());
    EXPECT_TRUE(second_->endings.empty());
    second_.reset();
  }
}

TEST_F(AgentHostTest, AnotherBuildIsToldToBothWithBothNames) {
  first_ = Open(0, "key");
  second_ = Open(1, "key", 2, std::nullopt, "build 2");
  PollUntil([&] { return !first_->mismatches.empty() && !second_->mismatches.empty(); });
  for (const Host* host : {first_.get(), second_.get()}) {
    const std::string& text = host->mismatches[0].message();
    EXPECT_NE(text.find("'build 1'"), std::string::npos) << text;
    EXPECT_NE(text.find("'build 2'"), std::string::npos) << text;
  }
}

TEST_F(AgentHostTest, GarbageAtThePortLeavesALinkAsItIs) {
  first_ = Open(0, "key");
  second_ = Open(1, "key");
  PollUntil([&] { return first_->host->HasLinks() && second_->host->HasLinks(); });
  const std::string preamble = net::EncodePreamble(
      {net::ConnectionRole::kMembership, net::HashJobName("closeranks"), {0, {}}, 1});
  SeededRandom random(1);
  for (int i = 0; i < 100; ++i) {
    std::string bytes = i % 2 == 0 ? "" : preamble;
    for (uint64_t length = random.Below(200); length > 0; --length) {
      bytes.push_back(static_cast<char>(random.Next()));
    }
    SendGarbage(bytes);
  }
  EXPECT_TRUE(first_->host->HasLinks());
  EXPECT_TRUE(second_->host->HasLinks());
}

}  // namespace
}  // namespace closeranks::rendezvous
