#include "net/simulated_network.h"

#include <chrono>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/front_door.h"
#include "net/link.h"
#include "net/simulated_loop.h"

namespace closeranks::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A process with one link, and what that was told.
struct Node {
  Node(SimulatedFabric& fabric, const std::string& host)
      : process(std::in_place, fabric.world()),
        loop(std::in_place, fabric, *process),
        network(std::in_place, fabric, *process, host) {}

  void Adopt(std::unique_ptr<Socket> socket, LinkOptions options = {}) {
    link = std::make_unique<Link>(*loop, std::move(socket), options);
    link->Start(
        {.on_frame =
             [this](const FrameHeader& header, std::string payload, std::unique_ptr<Socket>) {
               tags.push_back(header.tag);
               payloads.push_back(std::move(payload));
             },
         .on_closed = [this](const Status& why) { ends.push_back(why); }});
  }

  std::optional<SimulatedProcess> process;
  std::optional<SimulatedLoop> loop;
  std::optional<SimulatedNetwork> network;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Link> link;
  std::vector<uint64_t> tags;
  std::vector<std::string> payloads;
  std::vector<Status> ends;
};

FrameHeader Control(uint64_t tag) {
  FrameHeader header;
  header.kind = FrameKind::kControl;
  header.tag = tag;
  return header;
}

class SimulatedNetworkTest : public testing::Test {
 protected:
  // `b` listens, `a` connects, and both have a link.
  void Connect() {
    Listen();
    a_.network->Connect(
        kB, {}, [this](Result<std::unique_ptr<Socket>> socket) { a_.Adopt(*std::move(socket)); });
    ASSERT_TRUE(world_.RunUntilTrue([this] { return a_.link && b_.link; }, seconds(10)));
  }
  void Listen() {
    b_.listener = b_.network
                      ->Listen(kB,
                               [this](std::unique_ptr<Socket> socket, const Address& peer) {
                                 EXPECT_EQ(peer.host, "a");
                                 b_.Adopt(std::move(socket), b_options_);
                               })
                      .value();
  }
  Status ConnectStatus(const Address& to, ConnectOptions options = {}) {
    std::optional<Status> status;
    a_.network->Connect(to, options, [&](Result<std::unique_ptr<Socket>> socket) {
      EXPECT_FALSE(status) << "called back twice";
      status = socket.status();
    });
    EXPECT_FALSE(status) << "Connect called back";
    EXPECT_TRUE(world_.RunUntilTrue([&] { return status.has_value(); }, seconds(60)));
    return *status;
  }
  std::vector<uint64_t> UpTo(uint64_t count) {
    std::vector<uint64_t> tags;
    for (uint64_t i = 0; i < count; ++i) tags.push_back(i);
    return tags;
  }

  const Address kB = Address::Ip("b", 100);
  SimulatedWorld world_{7};
  SimulatedFabric fabric_{world_};
  Node a_{fabric_, "a"};
  Node b_{fabric_, "b"};
  LinkOptions b_options_;
};

TEST_F(SimulatedNetworkTest, FramesArriveInOrderBothWays) {
  Connect();
  for (uint64_t i = 0; i < 100; ++i) {
    a_.link->Send(Control(i), std::to_string(i));
    b_.link->Send(Control(i), "");
  }
  EXPECT_TRUE(b_.tags.empty()) << "Send delivered";
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(100));
  EXPECT_EQ(b_.payloads[42], "42");
  EXPECT_EQ(a_.tags, UpTo(100));
  EXPECT_EQ(a_.link->queued_bytes(), 0u);
}

TEST_F(SimulatedNetworkTest, RefusalSilenceAndATakenPortAreToldApart) {
  EXPECT_EQ(ConnectStatus(kB).code(), StatusCode::kUnavailable);
  EXPECT_EQ(ConnectStatus(Address::Ip("nobody", 1)).code(), StatusCode::kTimeout);
  Listen();
  EXPECT_EQ(b_.network->Listen(kB, [](std::unique_ptr<Socket>, const Address&) {}).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(a_.network->Listen(kB, [](std::unique_ptr<Socket>, const Address&) {}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(ConnectStatus(kB).ok());
}

TEST_F(SimulatedNetworkTest, ConnectingWaitsBehindACutAndGetsThroughWhenItHeals) {
  Listen();
  fabric_.Cut("b", "a");
  EXPECT_EQ(ConnectStatus(kB, {.timeout = seconds(2), .greeting = ""}).code(),
            StatusCode::kTimeout);
  EXPECT_FALSE(b_.link);
  world_.RunAfter(seconds(1), [&] { fabric_.Heal("b", "a"); });
  EXPECT_TRUE(ConnectStatus(kB, {.timeout = seconds(2), .greeting = ""}).ok());
}

TEST_F(SimulatedNetworkTest, AClogDelaysOneDirectionAndLosesNothing) {
  Connect();
  fabric_.Clog("a", "b");
  for (uint64_t i = 0; i < 10; ++i) {
    a_.link->Send(Control(i), "");
    b_.link->Send(Control(i), "");
  }
  world_.RunFor(seconds(10));
  EXPECT_TRUE(b_.tags.empty());
  EXPECT_EQ(a_.tags, UpTo(10));
  fabric_.Unclog("a", "b");
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(10));
}

TEST_F(SimulatedNetworkTest, ACloggedLinkEndsAtItsBound) {
  b_options_.max_queued_bytes = 1000;
  Connect();
  fabric_.Clog("b", "a");
  // Beyond what the connection's own buffer takes.
  for (uint64_t i = 0; i < 4000; ++i) b_.link->Send(Control(i), std::string(100, 'x'));
  world_.RunFor(seconds(1));
  ASSERT_EQ(b_.ends.size(), 1u);
  EXPECT_EQ(b_.ends[0].code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(a_.ends.empty());
}

TEST_F(SimulatedNetworkTest, ACutLosesSilentlyAndHealingResets) {
  Connect();
  a_.link->Send(Control(0), "");
  world_.RunFor(seconds(1));
  fabric_.Cut("a", "b");
  a_.link->Send(Control(1), "");
  b_.link->Send(Control(0), "");
  world_.RunFor(seconds(10));
  EXPECT_EQ(b_.tags, UpTo(1));
  EXPECT_EQ(a_.tags, UpTo(1)) << "the other direction is whole";
  EXPECT_TRUE(a_.ends.empty() && b_.ends.empty()) << "a cut is silent";
  fabric_.Heal("a", "b");
  a_.link->Send(Control(2), "");
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(1)) << "nothing may arrive behind a gap";
  ASSERT_EQ(a_.ends.size(), 1u);
  ASSERT_EQ(b_.ends.size(), 1u);
  EXPECT_EQ(b_.ends[0].code(), StatusCode::kPeerLost);
}

TEST_F(SimulatedNetworkTest, ACutThatLostNothingLeavesConnectionsWhole) {
  Connect();
  fabric_.CutBoth("a", "b");
  world_.RunFor(seconds(10));
  fabric_.HealBoth("a", "b");
  a_.link->Send(Control(0), "");
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(1));
  EXPECT_TRUE(a_.ends.empty());
}

TEST_F(SimulatedNetworkTest, AnEndBehindACutIsHalfOpen) {
  Connect();
  fabric_.Cut("a", "b");
  a_.link.reset();
  world_.RunFor(seconds(10));
  EXPECT_TRUE(b_.ends.empty());
  fabric_.Heal("a", "b");
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.ends.size(), 1u);
}

TEST_F(SimulatedNetworkTest, AResetEndsBothSidesOnce) {
  Connect();
  a_.link->Send(Control(0), "");
  fabric_.ResetConnections("b", "a");
  world_.RunFor(seconds(1));
  EXPECT_TRUE(b_.tags.empty());
  ASSERT_EQ(a_.ends.size(), 1u);
  ASSERT_EQ(b_.ends.size(), 1u);
  EXPECT_EQ(a_.ends[0].code(), StatusCode::kPeerLost);
}

TEST_F(SimulatedNetworkTest, RandomResetsCutTheStream) {
  Connect();
  fabric_.set_reset_once_in(50);
  for (uint64_t i = 0; i < 1000; ++i) {
    a_.link->Send(Control(i), "");
    world_.RunFor(milliseconds(1));
  }
  EXPECT_EQ(b_.ends.size(), 1u);
  EXPECT_LT(b_.tags.size(), 1000u);
  EXPECT_EQ(b_.tags, UpTo(b_.tags.size())) << "what arrives is a prefix";
  EXPECT_EQ(fabric_.resets(), 1u);
}

TEST_F(SimulatedNetworkTest, FinishSendingLetsEverythingArrive) {
  Connect();
  for (uint64_t i = 0; i < 10; ++i) a_.link->Send(Control(i), "");
  a_.link->FinishSending();
  a_.link->Send(Control(10), "too late");
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(10));
  EXPECT_EQ(b_.ends.size(), 1u);
  EXPECT_EQ(a_.ends.size(), 1u);
}

TEST_F(SimulatedNetworkTest, WhoDoesntReadMakesTheSenderWait) {
  Connect();
  fabric_.Stop(*b_.process);
  const std::string large(1 << 20, 'x');
  a_.link->Send(Control(0), large);
  world_.RunFor(seconds(10));
  EXPECT_GT(a_.link->queued_bytes(), large.size() / 2) << "a buffer without bounds";
  fabric_.Continue(*b_.process);
  world_.RunFor(seconds(10));
  ASSERT_EQ(b_.payloads.size(), 1u);
  EXPECT_EQ(b_.payloads[0], large);
}

TEST_F(SimulatedNetworkTest, AStoppedProcessHearsEverythingWhenItGoesOn) {
  Connect();
  fabric_.Stop(*b_.process);
  a_.link->Send(Control(0), "");
  a_.link->FinishSending();
  world_.RunFor(seconds(10));
  EXPECT_TRUE(b_.tags.empty() && b_.ends.empty() && a_.ends.empty());
  fabric_.Continue(*b_.process);
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(1));
  EXPECT_EQ(b_.ends.size(), 1u);
}

TEST_F(SimulatedNetworkTest, AStoppedProcessIsStillConnectable) {
  Listen();
  fabric_.Stop(*b_.process);
  EXPECT_TRUE(ConnectStatus(kB).ok());
  EXPECT_FALSE(b_.link);
  fabric_.Continue(*b_.process);
  world_.RunFor(seconds(1));
  EXPECT_TRUE(b_.link);
}

TEST_F(SimulatedNetworkTest, PeersHearOfAKilledProcessAndThatIsAll) {
  Connect();
  b_.link->Send(Control(0), "");
  fabric_.Kill(*b_.process);
  b_.link->Send(Control(1), "from the grave");
  a_.link->Send(Control(0), "");
  world_.RunFor(seconds(1));
  EXPECT_EQ(a_.tags, UpTo(1)) << "what its kernel had taken still arrives";
  ASSERT_EQ(a_.ends.size(), 1u);
  EXPECT_TRUE(b_.tags.empty() && b_.ends.empty());
  EXPECT_EQ(ConnectStatus(kB, {.timeout = seconds(1), .greeting = ""}).code(),
            StatusCode::kTimeout);

  // Another process of that host takes its place while the old one's objects are still around.
  Node next(fabric_, "b");
  auto listener = next.network->Listen(
      kB, [&](std::unique_ptr<Socket> socket, const Address&) { next.Adopt(std::move(socket)); });
  ASSERT_TRUE(listener.ok());
  b_.listener.reset();
  EXPECT_TRUE(ConnectStatus(kB).ok());
}

TEST_F(SimulatedNetworkTest, NobodyHearsOfAVanishedProcess) {
  Connect();
  b_.link->Send(Control(0), "");
  fabric_.Vanish(*b_.process);
  a_.link->Send(Control(0), "");
  world_.RunFor(seconds(10));
  fabric_.CutBoth("a", "b");
  fabric_.HealEverything();
  b_.link.reset();
  world_.RunFor(seconds(10));
  EXPECT_TRUE(a_.tags.empty() && a_.ends.empty());
  for (int i = 0; i < 10; ++i) a_.link->Send(Control(1), std::string(100'000, 'x'));
  world_.RunFor(seconds(10));
  EXPECT_GT(a_.link->queued_bytes(), 0u) << "nothing is acknowledged";
}

TEST_F(SimulatedNetworkTest, CloseIsReportedOnceAndSeenByThePeer) {
  Connect();
  a_.link->Close();
  a_.link->Close();
  EXPECT_TRUE(a_.ends.empty()) << "Close called back";
  world_.RunFor(seconds(1));
  ASSERT_EQ(a_.ends.size(), 1u);
  EXPECT_EQ(a_.ends[0].code(), StatusCode::kAborted);
  ASSERT_EQ(b_.ends.size(), 1u);
  EXPECT_EQ(b_.ends[0].code(), StatusCode::kPeerLost);
}

TEST_F(SimulatedNetworkTest, ALinkMayBeDestroyedInItsHandlers) {
  Listen();
  std::unique_ptr<Link> link;
  int frames = 0;
  a_.network->Connect(kB, {}, [&](Result<std::unique_ptr<Socket>> connected) {
    link = std::make_unique<Link>(*a_.loop, *std::move(connected));
    link->Start({.on_frame =
                     [&](const FrameHeader&, std::string, std::unique_ptr<Socket>) {
                       link.reset();
                       ++frames;
                     },
                 .on_closed = [](const Status&) { FAIL(); }});
  });
  ASSERT_TRUE(world_.RunUntilTrue([&] { return b_.link != nullptr; }, seconds(1)));
  b_.link->Send(Control(0), "");
  b_.link->Send(Control(1), "");
  b_.link->FinishSending();
  world_.RunFor(seconds(1));
  EXPECT_EQ(frames, 1);
  EXPECT_EQ(b_.ends.size(), 1u);
}

TEST_F(SimulatedNetworkTest, ACancelledConnectNeverCallsBack) {
  Listen();
  const ConnectId id = a_.network->Connect(kB, {}, [](Result<std::unique_ptr<Socket>>) { FAIL(); });
  a_.network->Connect(Address::Ip("nobody", 1), {},
                      [](Result<std::unique_ptr<Socket>>) { FAIL(); });
  ASSERT_TRUE(world_.RunOne());
  a_.network->Cancel(id);
  a_.network.reset();
  world_.RunFor(seconds(60));
  EXPECT_TRUE(!b_.link || b_.ends.size() == 1u);
}

TEST_F(SimulatedNetworkTest, AFrontDoorWorksOnItAsOnTheSystems) {
  const Preamble preamble{
      .role = ConnectionRole::kData, .job_hash = 1, .destination = {3, {1, 2}}, .sender = 7};
  auto door = FrontDoor::Open(*b_.loop, *b_.network, kB, {.job_hash = 1},
                              [&](const Preamble& said, std::unique_ptr<Socket> socket) {
                                EXPECT_EQ(said, preamble);
                                b_.Adopt(std::move(socket));
                              });
  ASSERT_TRUE(door.ok()) << door.status();
  a_.network->Connect(kB, {.greeting = EncodePreamble(preamble)},
                      [this](Result<std::unique_ptr<Socket>> socket) {
                        a_.Adopt(*std::move(socket));
                        a_.link->Send(Control(0), "");
                      });
  world_.RunFor(seconds(1));
  EXPECT_EQ(b_.tags, UpTo(1));
}

TEST_F(SimulatedNetworkTest, ASocketIsPassedToAnotherProcessOfTheHost) {
  Connect();
  Node worker(fabric_, "b");
  auto [ours, theirs] = b_.network->MakePair(*worker.network);
  Link session(*b_.loop, std::move(ours));
  session.Start({.on_frame = [](const FrameHeader&, std::string, std::unique_ptr<Socket>) {},
                 .on_closed = [](const Status&) {}});
  std::unique_ptr<Link> passed;
  std::vector<uint64_t> heard;
  worker.link = std::make_unique<Link>(*worker.loop, std::move(theirs));
  worker.link->Start(
      {.on_frame =
           [&](const FrameHeader&, std::string, std::unique_ptr<Socket> socket) {
             if (socket == nullptr) return;
             passed = std::make_unique<Link>(*worker.loop, std::move(socket));
             passed->Start(
                 {.on_frame = [&](const FrameHeader& header, std::string,
                                  std::unique_ptr<Socket>) { heard.push_back(header.tag); },
                  .on_closed = [](const Status&) {}});
           },
       .on_closed = [](const Status&) {}});
  session.Send(Control(1), std::string(300'000, 'x'));  // keeps the rest queued
  auto connection = b_.link->Detach();
  ASSERT_TRUE(connection.ok()) << connection.status();
  session.Send(Control(2), "a connection", *std::move(connection));
  a_.link->Send(Control(7), "");
  world_.RunFor(seconds(1));
  EXPECT_EQ(heard, std::vector<uint64_t>{7});
  // It is the other process's now, and goes with that one.
  fabric_.Kill(*worker.process);
  world_.RunFor(seconds(1));
  EXPECT_EQ(a_.ends.size(), 1u);
}

TEST_F(SimulatedNetworkTest, ReadinessCanBeObserved) {
  Connect();
  auto socket = b_.link->Detach();
  ASSERT_TRUE(socket.ok()) << socket.status();
  const int descriptor = (*socket)->descriptor();
  int changes = 0;
  const auto observer = fabric_.Observe(descriptor, [&] { ++changes; });
  EXPECT_FALSE(fabric_.ReadinessOf(descriptor).readable);
  EXPECT_TRUE(fabric_.ReadinessOf(descriptor).writable);
  a_.link->Send(Control(0), "");
  world_.RunFor(seconds(1));
  EXPECT_TRUE(fabric_.ReadinessOf(descriptor).readable);
  EXPECT_GT(changes, 0);
  fabric_.ResetConnections("a", "b");
  world_.RunFor(seconds(1));
  EXPECT_TRUE(fabric_.ReadinessOf(descriptor).hung_up);
  fabric_.EndObserving(observer);
  socket->reset();
  EXPECT_FALSE(fabric_.ReadinessOf(descriptor).hung_up) << "it is closed";
}

TEST_F(SimulatedNetworkTest, NamesAreWhatTheTableSaysNow) {
  SimulatedResolver::Names names{{"b-0.job", {"b", "old-b"}}};
  SimulatedResolver resolver(*a_.process, names);
  const auto ask = [&](const std::string& name) {
    std::optional<Result<std::vector<Address>>> answer;
    resolver.Resolve(Address::Ip(name, 9), [&](Result<std::vector<Address>> got) { answer = got; });
    EXPECT_TRUE(world_.RunUntilTrue([&] { return answer.has_value(); }, seconds(1)));
    return *answer;
  };
  EXPECT_EQ(ask("b-0.job").value(),
            (std::vector<Address>{Address::Ip("b", 9), Address::Ip("old-b", 9)}));
  names["b-0.job"].clear();
  EXPECT_EQ(ask("b-0.job").status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(ask("10.0.0.1").value(), std::vector<Address>{Address::Ip("10.0.0.1", 9)});
}

// What happens in a small world full of faults, with the time of each frame.
std::string Story(uint64_t seed) {
  SimulatedWorld world(seed);
  SimulatedFabric fabric(world);
  fabric.set_reset_once_in(30);
  const std::vector<std::string> hosts{"a", "b", "c"};
  std::ostringstream story;
  struct Peer {
    Peer(SimulatedFabric& fabric, const std::string& host)
        : process(fabric.world()), loop(fabric, process), network(fabric, process, host) {}
    SimulatedProcess process;
    SimulatedLoop loop;
    SimulatedNetwork network;
    std::unique_ptr<Listener> listener;
    std::vector<std::unique_ptr<Link>> links;
  };
  std::vector<std::unique_ptr<Peer>> peers;
  for (const std::string& host : hosts) {
    Peer& peer = *peers.emplace_back(std::make_unique<Peer>(fabric, host));
    const auto adopt = [&story, &world, &peer](std::unique_ptr<Socket> socket) {
      Link& held = *peer.links.emplace_back(std::make_unique<Link>(peer.loop, std::move(socket)));
      held.Start({.on_frame =
                      [&story, &world, &peer, &held](const FrameHeader& header, std::string,
                                                     std::unique_ptr<Socket>) {
                        story << world.Now().time_since_epoch().count() << ' '
                              << peer.network.host() << ' ' << header.tag << '\n';
                        if (header.tag > 0) held.Send(Control(header.tag - 1), "");
                      },
                  .on_closed =
                      [&story, &peer](const Status& why) {
                        story << peer.network.host() << ' ' << why << '\n';
                      }});
    };
    peer.listener =
        peer.network
            .Listen(Address::Ip(host, 1), [adopt](std::unique_ptr<Socket> socket,
                                                  const Address&) { adopt(std::move(socket)); })
            .value();
    for (const std::string& other : hosts) {
      peer.network.Connect(Address::Ip(other, 1), {},
                           [adopt, &peer](Result<std::unique_ptr<Socket>> socket) {
                             if (!socket.ok()) return;
                             adopt(*std::move(socket));
                             peer.links.back()->Send(Control(20), "");
                           });
    }
  }
  for (int i = 0; i < 50; ++i) {
    const std::string& from = hosts[world.random().Below(3)];
    const std::string& to = hosts[world.random().Below(3)];
    if (world.random().OneIn(3)) fabric.Cut(from, to);
    if (world.random().OneIn(3)) fabric.Clog(from, to);
    if (world.random().OneIn(2)) fabric.HealEverything();
    if (world.random().OneIn(5)) fabric.ResetConnections(from, to);
    world.RunFor(milliseconds(1));
  }
  return story.str();
}

TEST(SimulatedWorld, ASeedTellsTheSameStoryEveryTime) {
  const std::string story = Story(1);
  EXPECT_GT(story.size(), 500u);
  EXPECT_EQ(Story(1), story);
  EXPECT_NE(Story(2), story);
}

}  // namespace
}  // namespace closeranks::net
