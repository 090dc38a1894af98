// The port and the links between supervisors as they ship, over a simulated network.
#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/front_door.h"
#include "net/simulated_loop.h"
#include "net/simulated_network.h"
#include "rendezvous/peer_links.h"

namespace closeranks::rendezvous {
namespace {

constexpr int kHosts = 3;

// Hosts with one member each, who know each other by a list.
struct Hosts {
  struct Host {
    Host(net::SimulatedFabric& fabric, const std::string& name)
        : process(fabric.world()), loop(fabric, process), network(fabric, process, name) {}

    net::SimulatedProcess process;
    net::SimulatedLoop loop;
    net::SimulatedNetwork network;
    net::SimulatedResolver::Names names;
    net::SimulatedResolver resolver{process, names};
    std::unique_ptr<Credentials> credentials;
    std::unique_ptr<net::FrontDoor> door;
    std::unique_ptr<PeerLinks> links;
  };

  explicit Hosts(uint64_t seed, bool by_service = false)
      : by_service(by_service), world(seed), fabric(world) {
    for (int index = 0; index < kHosts; ++index) Open(index);
  }

  static net::Address AddressOf(int host) {
    return net::Address::Ip("host-" + std::to_string(host), 29400);
  }

  void Open(int index, uint64_t incarnation = 1) {
    hosts[index].reset();
    hosts[index] = std::make_unique<Host>(fabric, AddressOf(index).host);
    Host& host = *hosts[index];
    net::FrontDoor::Options door;
    door.job_hash = net::HashJobName("job");
    host.door =
        net::FrontDoor::Open(host.loop, host.network, AddressOf(index), door,
                             [&host](const net::Preamble&, std::unique_ptr<net::Socket> socket) {
                               host.links->Accept(std::move(socket));
                             })
            .value();
    PeerLinks::Options options;
    options.self = {"job", {index, {7, incarnation}}, {"build", "kernels", "configuration"}};
    host.credentials = Credentials::Open(host.loop, files, {.keys = {"key"}}).value();
    options.credentials = host.credentials.get();
    for (int other = 0; other < kHosts; ++other) {
      if (other == index) continue;
      options.peers.push_back({other});
      if (by_service) continue;
      options.whereabouts.hosts.push_back(AddressOf(other));
      host.names[AddressOf(other).host] = {AddressOf(other).host};
    }
    if (by_service) {
      options.whereabouts.service = "trainer";
      options.whereabouts.port = std::to_string(AddressOf(index).port);
    }
    options.resolver = &host.resolver;
    host.links = std::make_unique<PeerLinks>(
        host.loop, host.network, world.random(), options,
        PeerLinks::Owner{[](MemberId, const Message&) {}, [](const MemberProcess&) {},
                         [](const MemberProcess&) {}, [](const Status&) { FAIL(); }});
  }
  bool AreAnyLinked() const {
    return std::any_of(hosts.begin(), hosts.end(),
                       [](const auto& host) { return host->links->HasLinks(); });
  }
  bool AreAllLinked() const {
    for (const auto& host : hosts) {
      if (!host->links->DescribeMissing().empty()) return false;
    }
    return true;
  }

  const bool by_service;
  SystemFiles files;
  net::SimulatedWorld world;
  net::SimulatedFabric fabric;
  std::vector<std::unique_ptr<Host>> hosts{kHosts};
};

TEST(SimulatedLinks, EveryHostIsLinkedToEveryOtherSoon) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Hosts job(seed);
    EXPECT_TRUE(job.world.RunUntilTrue([&] { return job.AreAllLinked(); }, std::chrono::seconds(1)))
        << "seed " << seed;
  }
}

TEST(SimulatedLinks, WhateverTheNetworkDidTheLinksComeBack) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Hosts job(seed);
    Random& random = job.world.random();
    const auto any = [&] { return Hosts::AddressOf(static_cast<int>(random.Below(kHosts))).host; };
    job.fabric.set_reset_once_in(40);
    for (int fault = 0; fault < 30; ++fault) {
      if (random.OneIn(3)) job.fabric.Cut(any(), any());
      if (random.OneIn(3)) job.fabric.Clog(any(), any());
      if (random.OneIn(4)) job.fabric.HealEverything();
      if (random.OneIn(5)) job.fabric.ResetConnections(any(), any());
      if (random.OneIn(8)) {
        const int host = static_cast<int>(random.Below(kHosts));
        job.fabric.Kill(job.hosts[host]->process);
        job.Open(host, 2 + static_cast<uint64_t>(fault));
      }
      job.world.RunFor(std::chrono::milliseconds(100));
    }
    job.fabric.HealEverything();
    EXPECT_TRUE(
        job.world.RunUntilTrue([&] { return job.AreAllLinked(); }, std::chrono::seconds(30)))
        << "seed " << seed;
  }
}

// Names that appear late, at one replica of the server before the other, beside stale ones.
TEST(SimulatedLinks, AServiceWhoseNamesComeLateAndDisagreeIsFoundSoonAfterThey) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Hosts job(seed, /*by_service=*/true);
    job.world.RunFor(std::chrono::seconds(30));  // a negative answer that is cached
    EXPECT_FALSE(job.AreAnyLinked());
    for (int index = 0; index < kHosts; ++index) {
      std::vector<std::string>& said = job.hosts[index]->names["trainer"];
      said = {"gone", Hosts::AddressOf(index).host, "gone-too", Hosts::AddressOf(index).host};
      if (index == 0) said.push_back(Hosts::AddressOf(1).host);
    }
    // Host 2 is known to nobody but itself yet.
    EXPECT_FALSE(
        job.world.RunUntilTrue([&] { return job.AreAllLinked(); }, std::chrono::seconds(30)));
    job.hosts[2]->names["trainer"].push_back(Hosts::AddressOf(0).host);
    job.hosts[1]->names["trainer"].push_back(Hosts::AddressOf(2).host);
    // A silent address holds up a round for as long as connecting may take.
    EXPECT_TRUE(
        job.world.RunUntilTrue([&] { return job.AreAllLinked(); }, std::chrono::seconds(15)))
        << "seed " << seed;
  }
}

TEST(SimulatedLinks, DnsServersAreAskedAgainAfterDrawnPauses) {
  Hosts job(5, /*by_service=*/true);
  std::vector<Duration> pauses;
  TimePoint last{};
  job.hosts[0]->resolver.set_on_question([&] {
    if (last != TimePoint{}) pauses.push_back(job.world.Now() - last);
    last = job.world.Now();
  });
  job.world.RunFor(std::chrono::minutes(1));
  ASSERT_GT(pauses.size(), 20u);
  for (const Duration pause : pauses) {
    EXPECT_GE(pause, std::chrono::milliseconds(200));
    // And what the answer takes.
    EXPECT_LE(pause, std::chrono::milliseconds(2000 + 5));
  }
  const std::set<Duration> different(pauses.begin(), pauses.end());
  EXPECT_EQ(different.size(), pauses.size());
}

TEST(SimulatedLinks, ASeedTellsTheSameStory) {
  const auto story = [](uint64_t seed) {
    Hosts job(seed);
    job.world.RunFor(std::chrono::seconds(5));
    return std::pair(job.world.events_run(), job.fabric.segments_delivered());
  };
  EXPECT_EQ(story(3), story(3));
  EXPECT_NE(story(3), story(4));
}

}  // namespace
}  // namespace closeranks::rendezvous
