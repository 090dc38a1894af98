#include "rendezvous/introduction.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/socket_network.h"
#include "net/system_socket.h"
#include "net/test_certificates.h"

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

// A folder with files of a certificate.
class TlsFolder {
 public:
  std::unique_ptr<Credentials> Open(net::Loop& loop, Files& files, const net::TlsTexts& texts,
                                    const std::string& key) const {
    EXPECT_TRUE(files.MakeFolder(path_).ok());
    const net::TlsFiles paths{path_ + "/certificate", path_ + "/key", path_ + "/authority"};
    EXPECT_TRUE(files.Replace(paths.certificate, texts.certificate).ok());
    EXPECT_TRUE(files.Replace(paths.key, texts.key).ok());
    EXPECT_TRUE(files.Replace(paths.authority, texts.authority).ok());
    return Credentials::Open(loop, files, {.keys = {key}, .tls = paths}).value();
  }

 private:
  static inline int count_ = 0;
  const std::string path_ = testing::TempDir() + "/tls" + std::to_string(++count_);
};

class IntroductionsTest : public testing::Test {
 protected:
  void PollUntilQuiet() {
    while (loop_.PollOnce(Duration::zero()) > 0) {
    }
  }

  // Of two that have these, the second calls the first; each of them tells `note` what came of it.
  void Meet(Credentials& called, Credentials& calling, const Introduction::Done& note) {
    Introductions low(loop_, random_, Make(0), called, kLimit, kMost);
    Introductions high(loop_, random_, Make(1), calling, kLimit, kMost);
    auto [a, b] = MakePair();
    low.Begin(std::move(a), Handshake::Role::kResponder, false, note);
    high.Begin(std::move(b), Handshake::Role::kInitiator, false, note);
    PollUntilQuiet();
    clock_.Advance(kLimit);
    PollUntilQuiet();
  }

  ManualClock clock_;
  SeededRandom random_{1};
  net::EventLoop loop_{clock_};
  SystemFiles files_;
  std::unique_ptr<Credentials> credentials_ =
      Credentials::Open(loop_, files_, {.keys = {"key"}}).value();
};

TEST_F(IntroductionsTest, BothSidesHearOnceWhoTheOtherIs) {
  Introductions low(loop_, random_, Make(0), *credentials_, kLimit, kMost);
  Introductions high(loop_, random_, Make(1), *credentials_, kLimit, kMost);
  auto [a, b] = MakePair();
  std::vector<MemberId> heard;
  auto note = [&heard](Result<Acquaintance> result) {
    ASSERT_TRUE(result.ok()) << result.status();
    heard.push_back(result->peer.process.member);
  };
  low.Begin(std::move(a), Handshake::Role::kResponder, false, note);
  high.Begin(std::move(b), Handshake::Role::kInitiator, false, note);
  PollUntilQuiet();
  clock_.Advance(2 * kLimit);
  PollUntilQuiet();
  EXPECT_EQ(heard.size(), 2u);
}

TEST_F(IntroductionsTest, ADifferenceIsNamedToBothSides) {
  Identity odd = Make(1);
  odd.terms.configuration = "batch=2";
  Introductions low(loop_, random_, Make(0), *credentials_, kLimit, kMost);
  Introductions high(loop_, random_, odd, *credentials_, kLimit, kMost);
  for (bool low_calls : {false, true}) {
    auto [a, b] = MakePair();
    std::vector<Status> heard;
    auto note = [&heard](Result<Acquaintance> result) { heard.push_back(result.status()); };
    using Role = Handshake::Role;
    low.Begin(std::move(a), low_calls ? Role::kInitiator : Role::kResponder, false, note);
    high.Begin(std::move(b), low_calls ? Role::kResponder : Role::kInitiator, false, note);
    PollUntilQuiet();
    ASSERT_EQ(heard.size(), 2u);
    for (const Status& status : heard) {
      EXPECT_EQ(status.code(), StatusCode::kMismatch) << status;
      EXPECT_NE(status.message().find("batch=1"), std::string::npos) << status;
      EXPECT_NE(status.message().find("batch=2"), std::string::npos) << status;
    }
  }
}

TEST_F(IntroductionsTest, WithCertificatesTheConnectionIsEncrypted) {
  const TlsFolder folder;
  net::TestAuthority authority("job");
  auto credentials = folder.Open(loop_, files_, authority.Issue("pod"), "key");
  std::vector<Socket> connections;
  Meet(*credentials, *credentials, [&](Result<Acquaintance> result) {
    ASSERT_TRUE(result.ok()) << result.status();
    connections.push_back(std::move(result->connection));
  });
  ASSERT_EQ(connections.size(), 2u);
  EXPECT_FALSE(connections[0]->Release()) << "it isn't encrypted";
  std::string secret = "weights";
  const iovec part{secret.data(), secret.size()};
  EXPECT_EQ(connections[0]->Send({&part, 1}, nullptr), std::ssize(secret));
  char got[100];
  const iovec into{got, sizeof(got)};
  EXPECT_EQ(connections[1]->Receive({&into, 1}, nullptr), std::ssize(secret));
}

TEST_F(IntroductionsTest, ACertificateWithoutTheKeyOrOfAnotherAuthorityIsRefusedOnBothSides) {
  const TlsFolder ours, theirs;
  net::TestAuthority authority("job"), other("job");
  auto good = ours.Open(loop_, files_, authority.Issue("pod"), "key");
  for (auto& [texts, key] :
       {std::pair(authority.Issue("pod"), "not the key"), std::pair(other.Issue("pod"), "key")}) {
    auto bad = theirs.Open(loop_, files_, texts, key);
    for (bool bad_calls : {false, true}) {
      std::vector<StatusCode> heard;
      Meet(bad_calls ? *good : *bad, bad_calls ? *bad : *good,
           [&heard](Result<Acquaintance> result) { heard.push_back(result.status().code()); });
      EXPECT_EQ(heard, std::vector<StatusCode>(2, StatusCode::kUnauthenticated));
    }
  }
}

TEST_F(IntroductionsTest, WhoHasNoCertificateIsRefusedByThoseWhoHave) {
  const TlsFolder folder;
  net::TestAuthority authority("job");
  auto encrypting = folder.Open(loop_, files_, authority.Issue("pod"), "key");
  for (bool plain_calls : {false, true}) {
    int refused = 0;
    Meet(plain_calls ? *encrypting : *credentials_, plain_calls ? *credentials_ : *encrypting,
         [&refused](Result<Acquaintance> result) { refused += !result.ok(); });
    EXPECT_EQ(refused, 2);
  }
}

TEST_F(IntroductionsTest, WhatAStrangerSendsIsNoMismatch) {
  Introductions introductions(loop_, random_, Make(0), *credentials_, kLimit, kMost);
  const std::string forged = net::EncodeFrame({.kind = net::FrameKind::kHello}, "\4\1 differs");
  std::string torn = forged;
  torn.back() ^= 1;
  for (const std::string& bytes :
       {std::string(200, '?'), std::string(5, '\0'), std::string(), forged, torn}) {
    for (Handshake::Role role : {Handshake::Role::kInitiator, Handshake::Role::kResponder}) {
      auto [ours, theirs] = MakePair();
      std::optional<Status> heard;
      introductions.Begin(std::move(ours), role, false,
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
  Introductions introductions(loop_, random_, Make(0), *credentials_, kLimit, kMost);
  size_t ended = 0;
  auto begin = [&](Handshake::Role role) {
    auto [ours, theirs] = MakePair();
    introductions.Begin(std::move(ours), role, false, [&ended](Result<Acquaintance>) { ++ended; });
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

TEST_F(IntroductionsTest, ACrowdFromOneAddressCrowdsOutItself) {
  Introductions introductions(loop_, random_, Make(0), *credentials_, kLimit, kMost);
  net::SocketNetwork network(loop_);
  size_t accepted = 0;
  auto listener =
      network.Listen(net::Address::Ip("127.0.0.1", 0), [&](Socket connection, const net::Address&) {
        ++accepted;
        introductions.Begin(std::move(connection), Handshake::Role::kResponder, false,
                            [](Result<Acquaintance>) {});
      });
  ASSERT_TRUE(listener.ok()) << listener.status();
  const auto call = [&](const std::string& from) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto own = net::ToSocketAddress(net::Address::Ip(from, 0)).value();
    const auto target = net::ToSocketAddress((*listener)->address()).value();
    EXPECT_EQ(bind(fd.get(), own.get(), own.length), 0);
    EXPECT_EQ(connect(fd.get(), target.get(), target.length), 0);
    for (const size_t before = accepted; accepted == before;) loop_.PollOnce(Duration::max());
    return fd;
  };
  const auto is_closed = [](const UniqueFd& fd) {
    char byte;
    return recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 0;
  };
  const UniqueFd ours = call("127.0.0.2");
  std::vector<UniqueFd> crowd;
  for (size_t i = 0; i < 3 * kMost; ++i) crowd.push_back(call("127.0.0.3"));
  EXPECT_FALSE(is_closed(ours));
  const auto gone = static_cast<size_t>(std::count_if(crowd.begin(), crowd.end(), is_closed));
  EXPECT_EQ(gone, 2 * kMost + 1);
  EXPECT_FALSE(is_closed(crowd.back()));
}

}  // namespace
}  // namespace closeranks::rendezvous
