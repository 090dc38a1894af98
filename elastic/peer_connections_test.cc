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

}  // namespace
}  // namespace closeranks::elastic
