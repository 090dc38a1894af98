// What every transport promises, for each of them. One thread polls both ends, so nothing depends
// on time.
#include "collectives/transport/transport.h"

#include <sys/socket.h>

#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "collectives/transport/shm_transport.h"
#include "collectives/transport/simulated_transport.h"
#include "collectives/transport/tcp_transport.h"
#include "gtest/gtest.h"
#include "net/simulated_network.h"
#include "net/system_socket.h"
#include "net/test_certificates.h"
#include "net/tls.h"

namespace closeranks::collectives {
namespace {

using Token = Transport::Token;

// Keeps what it hears.
class Recorder final : public Transport::Receiver {
 public:
  void OnSent(Token token) override { sent.push_back(token.step); }
  void OnReceived(Token token) override { received.push_back(token.step); }
  void OnPiece(Token token, size_t offset, std::span<const std::byte> piece) override {
    EXPECT_EQ(offset, pieces[token.step].size());
    EXPECT_EQ(offset % 64, 0u);
    pieces[token.step].insert(pieces[token.step].end(), piece.begin(), piece.end());
  }
  void OnAnnounced(uint64_t tag, const Fingerprint& fingerprint) override {
    announced.emplace_back(tag, fingerprint);
    received_when_announced = received.size();
  }
  void OnNotice(uint64_t, std::span<const std::byte> notice) override {
    notices.emplace_back(reinterpret_cast<const char*>(notice.data()), notice.size());
  }
  void OnBroken(const Status& why) override { broken = why; }

  std::vector<uint64_t> sent, received;  // steps
  std::map<uint64_t, std::vector<std::byte>> pieces;
  std::vector<std::pair<uint64_t, Fingerprint>> announced;
  size_t received_when_announced = 0;
  std::vector<std::string> notices;
  Status broken;
};

enum class Kind { kTcp, kSimulatedTcp, kTls, kShm, kSmallShm, kSimulated };

std::pair<UniqueFd, UniqueFd> SocketPair() {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::vector<std::byte> Bytes(size_t count, uint64_t seed) {
  SeededRandom random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next());
  return bytes;
}

uint64_t TagOf(uint64_t sequence, uint32_t message = 0, uint8_t channel = 0) {
  return Tag{channel, sequence, message}.Encode();
}

Envelope Data(Generation generation, uint64_t tag) {
  Envelope envelope;
  envelope.generation = generation;
  envelope.tag = tag;
  return envelope;
}

class TransportTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    const MemberProcess a{0, {0, 1}}, b{1, {0, 2}};
    if (GetParam() == Kind::kSimulated) {
      link_ = std::make_unique<SimulatedLink>(a, b, clock_, random_, SimulatedLink::Options{});
      left_ = &link_->end(0);
      right_ = &link_->end(1);
      return;
    }
    if (GetParam() == Kind::kSimulatedTcp || GetParam() == Kind::kTls) {
      auto [one, two] = network_.MakePair(network_);
      if (GetParam() == Kind::kTls) Encrypt(one, two);
      owned_left_ = MakeTcpTransport(std::move(one), b);
      owned_right_ = MakeTcpTransport(std::move(two), a);
      left_ = owned_left_.get();
      right_ = owned_right_.get();
      return;
    }
    auto [one, two] = SocketPair();
    owned_left_ = Make(std::move(one), b);
    owned_right_ = Make(std::move(two), a);
    left_ = owned_left_.get();
    right_ = owned_right_.get();
  }

  void Encrypt(std::unique_ptr<net::Socket>& one, std::unique_ptr<net::Socket>& two) {
    const auto context = net::TlsContext::Make(net::TestAuthority("job").Issue("both")).value();
    using Role = net::TlsSocket::Role;
    auto client = std::make_unique<net::TlsSocket>(context, std::move(one), Role::kClient);
    auto server = std::make_unique<net::TlsSocket>(context, std::move(two), Role::kServer);
    bool is_client_done = false, is_server_done = false;
    while (!is_client_done || !is_server_done) {
      if (!is_client_done) is_client_done = client->Handshake().value();
      if (!is_server_done) is_server_done = server->Handshake().value();
      world_.RunOne();
    }
    one = std::move(client);
    two = std::move(server);
  }

  std::unique_ptr<Transport> Make(UniqueFd socket, const MemberProcess& peer) {
    if (GetParam() == Kind::kTcp)
      return MakeTcpTransport(std::make_unique<net::SystemSocket>(std::move(socket)), peer);
    ShmTransportOptions options;
    if (GetParam() == Kind::kSmallShm) options = {.slot_bytes = 64, .slots = 2};
    return MakeShmTransport(std::move(socket), peer, options).value();
  }

  // The left process dies.
  void KillLeft() {
    if (link_) {
      link_->Kill(0);
    } else {
      owned_left_.reset();
    }
    left_ = nullptr;
  }

  // Until nothing moves any more.
  void PollBoth() {
    int quiet = 0;
    while (quiet < 3) {
      bool moved = left_ && left_->Poll(true);
      moved |= right_->Poll(true);
      moved |= world_.RunOne();
      if (link_ && link_->NextArrival() != kNever) {
        clock_.AdvanceTo(std::max(clock_.Now(), link_->NextArrival()));
        moved |= right_->failure().ok();
      }
      quiet = moved ? 0 : quiet + 1;
    }
  }

  void Open(Generation generation) {
    ASSERT_TRUE(left_->Open(generation, 0, &left_hears_).ok());
    ASSERT_TRUE(right_->Open(generation, 0, &right_hears_).ok());
  }

  ManualClock clock_;
  SeededRandom random_{7};
  std::unique_ptr<SimulatedLink> link_;
  net::SimulatedWorld world_{7};
  net::SimulatedFabric fabric_{world_};
  net::SimulatedProcess process_{world_};
  net::SimulatedNetwork network_{fabric_, process_, "host"};
  std::unique_ptr<Transport> owned_left_, owned_right_;
  Transport* left_ = nullptr;
  Transport* right_ = nullptr;
  Recorder left_hears_, right_hears_;
};

std::string KindName(const testing::TestParamInfo<Kind>& info) {
  constexpr const char* kNames[] = {"Tcp", "SimulatedTcp", "Tls", "Shm", "SmallShm", "Simulated"};
  return kNames[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Kinds, TransportTest,
                         testing::Values(Kind::kTcp, Kind::kSimulatedTcp, Kind::kTls, Kind::kShm,
                                         Kind::kSmallShm, Kind::kSimulated),
                         KindName);

constexpr size_t kSizes[] = {0, 1, 63, 64, 65, 1000, 65536, 65537, 300001, 3 << 20};

TEST_P(TransportTest, MessagesOfAllSizesArriveWhole) {
  Open(1);
  std::vector<std::vector<std::byte>> sent, got;
  for (size_t size : kSizes) {
    sent.push_back(Bytes(size, size));
    got.emplace_back(size);
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    right_->Recv(1, TagOf(i), got[i].data(), got[i].size(), {nullptr, i});
    left_->Send(Data(1, TagOf(i)), sent[i].data(), sent[i].size(), {nullptr, i});
  }
  PollBoth();
  EXPECT_EQ(got, sent);
  EXPECT_EQ(left_hears_.sent.size(), sent.size());
  EXPECT_EQ(right_hears_.received.size(), sent.size());
  EXPECT_EQ(right_->counters().bytes_held, 0u);
}

TEST_P(TransportTest, PiecesMakeUpTheMessage) {
  Open(1);
  std::vector<std::vector<std::byte>> sent;
  for (size_t size : kSizes) sent.push_back(Bytes(size, size));
  for (size_t i = 1; i < sent.size(); ++i) {
    right_->RecvPieces(1, TagOf(i), sent[i].size(), {nullptr, i});
    left_->Send(Data(1, TagOf(i)), sent[i].data(), sent[i].size(), {nullptr, i});
  }
  PollBoth();
  for (size_t i = 1; i < sent.size(); ++i) EXPECT_EQ(right_hears_.pieces[i], sent[i]);
}

TEST_P(TransportTest, ReceivesMayComeLateAndInAnyOrder) {
  Open(1);
  std::vector<std::vector<std::byte>> sent, got;
  for (size_t size : kSizes) {
    sent.push_back(Bytes(size, size));
    got.emplace_back(size);
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    left_->Send(Data(1, TagOf(i)), sent[i].data(), sent[i].size(), {nullptr, i});
  }
  PollBoth();
  EXPECT_EQ(right_hears_.received.size(), 0u);
  for (size_t i = sent.size(); i-- > 0;) {
    if (i % 2 == 0 && !sent[i].empty()) {
      right_->RecvPieces(1, TagOf(i), got[i].size(), {nullptr, i});
    } else {
      right_->Recv(1, TagOf(i), got[i].data(), got[i].size(), {nullptr, i});
    }
  }
  PollBoth();
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(i % 2 == 0 && !sent[i].empty() ? right_hears_.pieces[i] : got[i], sent[i]);
  }
  EXPECT_EQ(right_->counters().bytes_held, 0u);
}

TEST_P(TransportTest, FingerprintComesBeforeTheData) {
  Open(1);
  const auto sent = Bytes(100, 1);
  std::vector<std::byte> got(100);
  right_->Recv(1, TagOf(5), got.data(), got.size(), {nullptr, 5});
  Envelope envelope = Data(1, TagOf(5));
  envelope.announces = true;
  envelope.fingerprint = {11, 22};
  left_->Send(envelope, sent.data(), sent.size(), {nullptr, 5});
  Envelope alone = envelope;
  alone.kind = MessageKind::kAnnounce;
  alone.tag = TagOf(6);
  left_->Notify(alone, {});
  PollBoth();
  ASSERT_EQ(right_hears_.announced.size(), 2u);
  EXPECT_EQ(right_hears_.announced[0], std::make_pair(TagOf(5), Fingerprint{11, 22}));
  EXPECT_EQ(right_hears_.announced[1], std::make_pair(TagOf(6), Fingerprint{11, 22}));
  EXPECT_EQ(right_hears_.received.size(), 1u);
  EXPECT_EQ(got, sent);
}

TEST_P(TransportTest, NoticesArriveAlsoAfterTheirGenerationEnded) {
  Open(1);
  Envelope notice = Data(1, TagOf(0));
  notice.kind = MessageKind::kNotice;
  const std::string text = "what went wrong";
  left_->Notify(notice, std::as_bytes(std::span(text)));
  left_->Quiesce(1, 0);
  PollBoth();
  EXPECT_EQ(right_hears_.notices, std::vector<std::string>{text});
}

TEST_P(TransportTest, MessagesOfANewerGenerationWaitForIt) {
  Open(1);
  Recorder left_newer, right_newer;
  ASSERT_TRUE(left_->Open(2, 0, &left_newer).ok());
  const auto sent = Bytes(1000, 1), more = Bytes(100000, 2);
  Envelope envelope = Data(2, TagOf(0));
  envelope.announces = true;
  left_->Send(envelope, sent.data(), sent.size(), {nullptr, 0});
  left_->Send(Data(2, TagOf(0, 1)), more.data(), more.size(), {nullptr, 1});
  PollBoth();
  EXPECT_EQ(right_hears_.announced.size(), 0u);
  ASSERT_TRUE(right_->Open(2, 0, &right_newer).ok());
  std::vector<std::byte> got(1000), got_more(100000);
  right_->Recv(2, TagOf(0), got.data(), got.size(), {nullptr, 0});
  right_->Recv(2, TagOf(0, 1), got_more.data(), got_more.size(), {nullptr, 1});
  PollBoth();
  EXPECT_EQ(right_newer.announced.size(), 1u);
  EXPECT_EQ(got, sent);
  EXPECT_EQ(got_more, more);
  EXPECT_EQ(right_->counters().messages_dropped, 0u);
}

TEST_P(TransportTest, MessagesOfAnOlderGenerationAreDroppedAndCounted) {
  ASSERT_TRUE(left_->Open(1, 0, &left_hears_).ok());
  ASSERT_TRUE(right_->Open(2, 0, &right_hears_).ok());
  const auto stale = Bytes(100000, 1);
  left_->Send(Data(1, TagOf(0)), stale.data(), stale.size(), {nullptr, 0});
  left_->Send(Data(1, TagOf(1)), stale.data(), 10, {nullptr, 1});
  PollBoth();
  EXPECT_EQ(left_hears_.sent.size(), 2u) << "a stale sender must not block";
  EXPECT_EQ(right_->counters().messages_dropped, 2u);
  EXPECT_EQ(right_->Open(1, 0, &right_hears_).code(), StatusCode::kStaleGeneration);

  Recorder left_newer;
  ASSERT_TRUE(left_->Open(2, 0, &left_newer).ok());
  const auto fresh = Bytes(500, 2);
  std::vector<std::byte> got(500);
  right_->Recv(2, TagOf(0), got.data(), got.size(), {nullptr, 0});
  left_->Send(Data(2, TagOf(0)), fresh.data(), fresh.size(), {nullptr, 0});
  PollBoth();
  EXPECT_EQ(got, fresh);
}

TEST_P(TransportTest, QuiesceInTheMiddleOfASendKeepsTheStreamWhole) {
  Open(1);
  auto large = Bytes(8 << 20, 1);  // more than any buffer between the two
  const auto original = large;
  left_->Send(Data(1, TagOf(0)), large.data(), large.size(), {nullptr, 0});
  left_->Send(Data(1, TagOf(1)), large.data(), large.size(), {nullptr, 1});
  // (A simulated one would take all of it in one poll.)
  if (GetParam() != Kind::kSimulated) left_->Poll(true);
  left_->Quiesce(1, 0);
  // From here on the memory is the caller's again.
  std::fill(large.begin(), large.end(), std::byte{0});
  EXPECT_EQ(left_hears_.sent.size(), 0u);

  Recorder left_newer, right_newer;
  ASSERT_TRUE(left_->Open(2, 0, &left_newer).ok());
  const auto fresh = Bytes(70000, 2);
  left_->Send(Data(2, TagOf(0)), fresh.data(), fresh.size(), {nullptr, 0});
  // The other side gives up later, when stale bytes are in the pipe.
  PollBoth();
  right_->Quiesce(1, 0);
  ASSERT_TRUE(right_->Open(2, 0, &right_newer).ok());
  std::vector<std::byte> got(70000);
  right_->Recv(2, TagOf(0), got.data(), got.size(), {nullptr, 0});
  PollBoth();
  EXPECT_EQ(got, fresh);
  EXPECT_EQ(left_hears_.sent.size(), 0u);
  EXPECT_EQ(left_newer.sent.size(), 1u);
}

TEST_P(TransportTest, QuiesceInTheMiddleOfAReceiveLeavesTheMemoryAlone) {
  Open(1);
  const auto large = Bytes(8 << 20, 1);
  std::vector<std::byte> got(large.size());
  right_->Recv(1, TagOf(0), got.data(), got.size(), {nullptr, 0});
  left_->Send(Data(1, TagOf(0)), large.data(), large.size(), {nullptr, 0});
  left_->Poll(true);
  right_->Poll(true);
  right_->Poll(true);
  right_->Quiesce(1, 0);
  const auto at_quiesce = got;
  PollBoth();
  EXPECT_EQ(got, at_quiesce);
  EXPECT_EQ(right_hears_.received.size(), 0u);
  EXPECT_EQ(left_hears_.sent.size(), 1u) << "the rest is taken and discarded";

  Recorder left_newer, right_newer;
  ASSERT_TRUE(left_->Open(2, 0, &left_newer).ok());
  ASSERT_TRUE(right_->Open(2, 0, &right_newer).ok());
  const auto fresh = Bytes(100, 2);
  std::vector<std::byte> got_fresh(100);
  right_->Recv(2, TagOf(0), got_fresh.data(), got_fresh.size(), {nullptr, 0});
  left_->Send(Data(2, TagOf(0)), fresh.data(), fresh.size(), {nullptr, 0});
  PollBoth();
  EXPECT_EQ(got_fresh, fresh);
}

TEST_P(TransportTest, ChannelsOfAGenerationAreApart) {
  Open(1);
  Recorder left_second, right_second;
  ASSERT_TRUE(left_->Open(1, 5, &left_second).ok());
  ASSERT_TRUE(right_->Open(1, 5, &right_second).ok());
  const auto first = Bytes(100, 1), second = Bytes(100, 2);
  std::vector<std::byte> got_first(100), got_second(100);
  right_->Recv(1, TagOf(0, 0, 5), got_second.data(), 100, {nullptr, 5});
  right_->Recv(1, TagOf(0, 0, 0), got_first.data(), 100, {nullptr, 0});
  left_->Send(Data(1, TagOf(0, 0, 0)), first.data(), 100, {nullptr, 0});
  left_->Send(Data(1, TagOf(0, 0, 5)), second.data(), 100, {nullptr, 5});
  PollBoth();
  EXPECT_EQ(got_first, first);
  EXPECT_EQ(got_second, second);
  EXPECT_EQ(right_second.received, std::vector<uint64_t>{5});
  right_->Quiesce(1, 5);
  left_->Send(Data(1, TagOf(1, 0, 5)), second.data(), 100, {nullptr, 5});
  left_->Send(Data(1, TagOf(1, 0, 0)), second.data(), 100, {nullptr, 0});
  right_->Recv(1, TagOf(1, 0, 0), got_first.data(), 100, {nullptr, 1});
  PollBoth();
  EXPECT_EQ(got_first, second);
  EXPECT_EQ(right_->counters().messages_dropped, 1u);
}

TEST_P(TransportTest, WhatAPeerSaidBeforeItDiedIsHeardFirst) {
  Open(1);
  const auto sent = Bytes(100, 1);
  std::vector<std::byte> got(100);
  right_->Recv(1, TagOf(0), got.data(), got.size(), {nullptr, 0});
  left_->Send(Data(1, TagOf(0)), sent.data(), sent.size(), {nullptr, 0});
  left_->Poll(true);
  KillLeft();
  PollBoth();
  EXPECT_EQ(got, sent);
  EXPECT_EQ(right_->failure().code(), StatusCode::kPeerLost) << right_->failure();
  // Harmless afterwards.
  right_->Send(Data(1, TagOf(1)), sent.data(), sent.size(), {nullptr, 1});
  EXPECT_FALSE(right_->Poll(true));
  right_->Quiesce(1, 0);
}

TEST_P(TransportTest, DeathInTheMiddleOfAMessageIsALoss) {
  Open(1);
  const auto large = Bytes(8 << 20, 1);
  std::vector<std::byte> got(large.size());
  right_->Recv(1, TagOf(0), got.data(), got.size(), {nullptr, 0});
  left_->Send(Data(1, TagOf(0)), large.data(), large.size(), {nullptr, 0});
  KillLeft();
  PollBoth();
  EXPECT_EQ(right_->failure().code(), StatusCode::kPeerLost) << right_->failure();
  EXPECT_EQ(right_hears_.received.size(), 0u);
}

TEST_P(TransportTest, MessageOfAnUnexpectedSizeIsReported) {
  Open(1);
  const auto sent = Bytes(100, 1);
  std::vector<std::byte> got(50);
  right_->Recv(1, TagOf(0), got.data(), got.size(), {nullptr, 0});
  left_->Send(Data(1, TagOf(0)), sent.data(), sent.size(), {nullptr, 0});
  PollBoth();
  EXPECT_FALSE(right_hears_.broken.ok());
  EXPECT_EQ(got, std::vector<std::byte>(50)) << "nothing may be written";
}

TEST(TcpTransport, RefusesWhatIsNoFrame) {
  auto [one, two] = SocketPair();
  auto transport = MakeTcpTransport(std::make_unique<net::SystemSocket>(std::move(two)), {});
  const std::string garbage(100, 'g');
  ASSERT_EQ(write(one.get(), garbage.data(), garbage.size()), 100);
  transport->Poll(true);
  EXPECT_EQ(transport->failure().code(), StatusCode::kMismatch) << transport->failure();
}

TEST(ShmTransport, RefusesWhatIsNoSharedMemory) {
  auto [one, two] = SocketPair();
  auto transport = MakeShmTransport(std::move(two), {}).value();
  const std::string garbage(100, 'g');
  ASSERT_EQ(write(one.get(), garbage.data(), garbage.size()), 100);
  transport->Poll(true);
  EXPECT_EQ(transport->failure().code(), StatusCode::kMismatch) << transport->failure();
}

TEST(ShmTransport, SleeperIsRungOnceForEachSleepAndOnlyThen) {
  auto [one, two] = SocketPair();
  const int probe = dup(two.get());  // sees how many bytes wait on the sleeper's socket
  auto left = MakeShmTransport(std::move(one), {}).value();
  auto right = MakeShmTransport(std::move(two), {}).value();
  Recorder left_hears, right_hears;
  ASSERT_TRUE(left->Open(1, 0, &left_hears).ok());
  ASSERT_TRUE(right->Open(1, 0, &right_hears).ok());
  left->Poll(true);
  right->Poll(true);
  const auto bells = [&] {
    char bytes[64];
    return recv(probe, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
  };
  const std::vector<std::byte> data(10);
  uint32_t message = 0;
  const auto send = [&] { left->Send(Data(1, TagOf(0, message++)), data.data(), data.size(), {}); };
  send();
  EXPECT_EQ(bells(), -1) << "who is awake isn't rung";
  // One message waits in its slot for a receive: nothing to do about it.
  EXPECT_TRUE(right->PrepareToSleep());
  send();
  send();
  EXPECT_EQ(bells(), 1);
  EXPECT_FALSE(right->PrepareToSleep()) << "two more messages are there";
  close(probe);
}

}  // namespace
}  // namespace closeranks::collectives
