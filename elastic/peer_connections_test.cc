#include "elastic/peer_connections.h"

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

TEST(PeerConnections, WhoEndsCallsNobodyAnyMore) {
  ManualClock clock;
  SystemRandom random;
  net::EventLoop loop(clock);
  collectives::Engine engine(clock);
  PeerConnections::Options options;
  const MemberProcess self{1, Incarnation::Draw(random)};
  options.self.process = self;
  auto opened = PeerConnections::Open(loop, engine, random, std::move(options));
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::unique_ptr<PeerConnections> connections = *std::move(opened);

  // Member 0 is on this host, and has ended.
  const Incarnation gone = Incarnation::Draw(random);
  ContactCard card;
  card.host = ThisHost();
  card.unix_name = "closeranks-" + gone.ToString();
  rendezvous::Decision decision;
  decision.generation = 1;
  decision.members.push_back({0, gone, gone, card.Encode()});
  decision.members.push_back({1, gone, self.incarnation, connections->Card()});
  connections->Connect(decision, [](auto) { FAIL() << "nobody is there"; });
  auto poll_until_quiet = [&loop] {
    size_t ran = 0;
    while (size_t more = loop.PollOnce(Duration::zero())) ran += more;
    return ran;
  };
  EXPECT_GT(poll_until_quiet(), 0u);
  clock.Advance(std::chrono::seconds(1));
  EXPECT_GT(poll_until_quiet(), 0u) << "it calls again as long as it is wanted";

  connections.reset();
  clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(poll_until_quiet(), 0u);
}

TEST(PeerConnections, OnlySharedMemoryRefusesAnotherHostAndNamesThePeerAndTheFlag) {
  ManualClock clock;
  SystemRandom random;
  net::EventLoop loop(clock);
  collectives::Engine engine(clock);
  const Incarnation other = Incarnation::Draw(random);
  ContactCard card;
  card.host = "another boot";
  card.data_address = "127.0.0.1:1";
  // Whichever of the two is to call the other.
  for (MemberId member : {0, 2}) {
    PeerConnections::Options options;
    options.only_shared_memory = true;
    const MemberProcess self{1, Incarnation::Draw(random)};
    options.self.process = self;
    auto connections = PeerConnections::Open(loop, engine, random, std::move(options)).value();
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
