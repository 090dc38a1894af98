#include "elastic/peer_connections.h"

#include <sys/socket.h>

#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/socket_network.h"
#include "net/system_socket.h"

namespace closeranks::elastic {
namespace {

class PeerConnectionsTest : public testing::Test {
 protected:
  using Transports = std::vector<PeerConnections::SharedTransport>;

  // A worker with an engine of its own.
  struct Peer {
    explicit Peer(const Clock& clock) : engine(clock) {}
    MemberProcess process;
    collectives::Engine engine;
    std::unique_ptr<PeerConnections> connections;
    std::optional<Status> connected;  // how the last Connect ended
  };

  std::unique_ptr<Peer> Open(MemberId member, const std::string& configuration = "batch=1") {
    auto peer = std::make_unique<Peer>(clock_);
    peer->process = {member, Incarnation::Draw(random_)};
    PeerConnections::Options options;
    options.self = {"job", peer->process, {"build", "kernels", configuration}};
    options.credentials = credentials_.get();
    auto opened = PeerConnections::Open(loop_, network_, peer->engine, random_, std::move(options));
    EXPECT_TRUE(opened.ok()) << opened.status();
    peer->connections = *std::move(opened);
    return peer;
  }

  static rendezvous::Decision Of(Generation generation, const std::vector<const Peer*>& peers) {
    rendezvous::Decision decision;
    decision.generation = generation;
    for (const Peer* peer : peers) {
      decision.members.push_back({peer->process.member, peer->process.incarnation,
                                  peer->process.incarnation, peer->connections->Card()});
    }
    return decision;
  }

  static void Connect(Peer& peer, const rendezvous::Decision& decision) {
    peer.connected.reset();
    peer.connections->Connect(
        decision, [&peer](Result<Transports> result) { peer.connected = result.status(); });
  }

  size_t PollUntilQuiet() {
    size_t ran = 0;
    while (size_t more = loop_.PollOnce(Duration::zero())) ran += more;
    return ran;
  }

  ManualClock clock_;
  SystemRandom random_;
  net::EventLoop loop_{clock_};
  SystemFiles files_;
  std::unique_ptr<rendezvous::Credentials> credentials_ =
      rendezvous::Credentials::Open(loop_, files_, {.keys = {"key"}}).value();
  net::SocketNetwork network_{loop_};
};

TEST_F(PeerConnectionsTest, WhoEndsCallsNobodyAnyMore) {
  auto gone = Open(0);
  auto peer = Open(1);
  const rendezvous::Decision decision = Of(1, {gone.get(), peer.get()});
  gone.reset();
  peer->connections->Connect(decision, [](auto) { FAIL() << "nobody is there"; });
  EXPECT_GT(PollUntilQuiet(), 0u);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_GT(PollUntilQuiet(), 0u) << "it calls again as long as it is wanted";

  peer->connections.reset();
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(PollUntilQuiet(), 0u);
}

TEST_F(PeerConnectionsTest, StrangersDontDisturbTheFirstWorld) {
  auto low = Open(0), high = Open(1);
  const rendezvous::Decision decision = Of(1, {low.get(), high.get()});
  Connect(*low, decision);
  const std::string forged =
      net::EncodeFrame({.kind = net::FrameKind::kHello}, "\4\1configuration differs");
  for (const std::string& said : {std::string(200, '?'), forged}) {
    auto [ours, stranger] = net::SystemSocket::MakePair().value();
    low->connections->Accept(std::move(ours));
    ASSERT_EQ(send(stranger->descriptor(), said.data(), said.size(), 0), std::ssize(said));
    PollUntilQuiet();
  }
  EXPECT_FALSE(low->connected.has_value());
  Connect(*high, decision);
  PollUntilQuiet();
  for (const auto& peer : {&low, &high}) {
    ASSERT_TRUE((*peer)->connected.has_value());
    EXPECT_TRUE((*peer)->connected->ok()) << *(*peer)->connected;
  }
}

TEST_F(PeerConnectionsTest, AMismatchBeforeTheFirstWorldIsFinalWhicheverWorldIsConnected) {
  auto low = Open(0), odd = Open(1, "batch=2");
  const rendezvous::Decision both = Of(1, {low.get(), odd.get()});
  Connect(*low, both);
  Connect(*odd, both);
  // The next world is on its way before the difference shows.
  low->connections->GiveUp();
  PollUntilQuiet();
  EXPECT_FALSE(low->connected.has_value());
  Connect(*low, Of(2, {low.get()}));
  for (const auto& peer : {&low, &odd}) {
    ASSERT_TRUE((*peer)->connected.has_value());
    EXPECT_EQ((*peer)->connected->code(), StatusCode::kMismatch);
  }
}

TEST_F(PeerConnectionsTest, WhoWasLeftOutComesBackWhileTheOldWorldIsStillHeld) {
  auto low = Open(0), high = Open(1);
  Transports held;
  low->connections->Connect(Of(1, {low.get(), high.get()}), [&](Result<Transports> result) {
    ASSERT_TRUE(result.ok()) << result.status();
    held = *std::move(result);
  });
  Connect(*high, Of(1, {low.get(), high.get()}));
  PollUntilQuiet();
  ASSERT_EQ(held.size(), 2u);
  Connect(*low, Of(2, {low.get()}));
  // The higher one calls, and so has to see that its connection is none any more.
  high->engine.SetOnPeerLost([&](const MemberProcess& peer, const Status&) {
    high->connections->OnPeerLost(peer, clock_.Now());
  });
  // A transport that polls memory looks at its socket only now and then.
  for (int i = 0; i < 100; ++i) high->engine.PollOnce();
  const rendezvous::Decision both = Of(3, {low.get(), high.get()});
  Connect(*low, both);
  Connect(*high, both);
  PollUntilQuiet();
  ASSERT_TRUE(low->connected.has_value());
  EXPECT_TRUE(low->connected->ok()) << *low->connected;
}

TEST_F(PeerConnectionsTest, WhoWasInAWorldGoesOnWithoutOneThatDiffers) {
  auto low = Open(0), odd = Open(1, "batch=2");
  Connect(*low, Of(1, {low.get()}));
  const rendezvous::Decision both = Of(2, {low.get(), odd.get()});
  Connect(*low, both);
  Connect(*odd, both);
  PollUntilQuiet();
  EXPECT_FALSE(low->connected.has_value());
  ASSERT_TRUE(odd->connected.has_value());
  EXPECT_EQ(odd->connected->code(), StatusCode::kMismatch);
  Connect(*low, Of(3, {low.get()}));
  ASSERT_TRUE(low->connected.has_value());
  EXPECT_TRUE(low->connected->ok());
}

TEST_F(PeerConnectionsTest, WhoMissedAWorldConnectsAnew) {
  auto low = Open(0), high = Open(1);
  Connect(*low, Of(1, {low.get(), high.get()}));
  Connect(*high, Of(1, {low.get(), high.get()}));
  PollUntilQuiet();
  // Behind a cut link: the lower one's side of the connection closes, and the other never hears.
  Connect(*low, Of(2, {low.get()}));
  ASSERT_TRUE(low->connected.has_value() && low->connected->ok());
  Connect(*low, Of(3, {low.get(), high.get()}));
  Connect(*high, Of(3, {low.get(), high.get()}));
  PollUntilQuiet();
  for (const auto& peer : {&low, &high}) {
    ASSERT_TRUE((*peer)->connected.has_value());
    EXPECT_TRUE((*peer)->connected->ok()) << *(*peer)->connected;
  }
}

TEST_F(PeerConnectionsTest, WhoIsCalledBeforeItLearnsOfTheWorldTakesThatConnection) {
  auto low = Open(0), high = Open(1);
  Connect(*low, Of(1, {low.get(), high.get()}));
  Connect(*high, Of(1, {low.get(), high.get()}));
  PollUntilQuiet();
  Connect(*high, Of(2, {high.get()}));
  Connect(*high, Of(3, {low.get(), high.get()}));
  PollUntilQuiet();
  ASSERT_TRUE(high->connected.has_value());
  // At once: the call was for this world, although this one missed the second.
  Connect(*low, Of(3, {low.get(), high.get()}));
  ASSERT_TRUE(low->connected.has_value());
  EXPECT_TRUE(low->connected->ok()) << *low->connected;
}

TEST(PeerConnections, OnlySharedMemoryIsRefusedWhereEverythingIsEncrypted) {
  ManualClock clock;
  SystemRandom random;
  net::EventLoop loop(clock);
  net::SocketNetwork network(loop);
  SystemFiles files;
  auto credentials =
      rendezvous::Credentials::Open(loop, files, {.keys = {"key"}, .encrypt_all = true}).value();
  collectives::Engine engine(clock);
  PeerConnections::Options options;
  options.self.process = {1, Incarnation::Draw(random)};
  options.credentials = credentials.get();
  EXPECT_TRUE(PeerConnections::Open(loop, network, engine, random, options).ok());
  options.only_shared_memory = true;
  const Status why = PeerConnections::Open(loop, network, engine, random, options).status();
  EXPECT_EQ(why.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(why.message().find("--encrypt=require"), std::string::npos) << why;
}

TEST(PeerConnections, OnlySharedMemoryRefusesAnotherHostAndNamesThePeerAndTheFlag) {
  ManualClock clock;
  SystemRandom random;
  net::EventLoop loop(clock);
  net::SocketNetwork network(loop);
  SystemFiles files;
  auto credentials = rendezvous::Credentials::Open(loop, files, {.keys = {"key"}}).value();
  collectives::Engine engine(clock);
  const Incarnation other = Incarnation::Draw(random);
  ContactCard card;
  card.host = "another boot";
  card.data_address = "127.0.0.1:1";
  // Whichever of the two is to call the other.
  for (MemberId member : {0, 2}) {
    PeerConnections::Options options;
    options.only_shared_memory = true;
    options.credentials = credentials.get();
    const MemberProcess self{1, Incarnation::Draw(random)};
    options.self.process = self;
    auto connections =
        PeerConnections::Open(loop, network, engine, random, std::move(options)).value();
    rendezvous::Decision decision;
    decision.generation = 1;
    decision.members.push_back({member, other, other, card.Encode()});
    decision.members.push_back({1, other, self.incarnation, connections->Card()});
    Status refused;
    connections->Connect(decision, [&](auto connected) { refused = connected.status(); });
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << refused;
    EXPECT_NE(refused.message().find("--transport=shm: member " + std::to_string(member)),
              std::string::npos)
        << refused;
  }
}

}  // namespace
}  // namespace closeranks::elastic
