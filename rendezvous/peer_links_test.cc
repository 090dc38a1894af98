// Supervisors that find each other by a service's name, whatever its servers say.
#include "rendezvous/peer_links.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/dns_resolver.h"
#include "net/event_loop.h"
#include "net/front_door.h"
#include "net/scripted_dns_server.h"
#include "net/socket_network.h"

namespace closeranks::rendezvous {
namespace {

using net::Address;
using Reply = net::ScriptedDnsServer::Reply;
using Question = net::ScriptedDnsServer::Question;

constexpr int kHosts = 3;

class PeerLinksTest : public testing::Test {
 protected:
  struct Host {
    explicit Host(net::EventLoop& loop) : network(loop) {}

    net::SocketNetwork network;
    std::unique_ptr<net::FrontDoor> door;
    std::unique_ptr<PeerLinks> links;
    std::vector<MemberProcess> up, down;
  };

  PeerLinksTest() {
    // All of 127.0.0.0/8 is this machine, and each host has an address of its own with the port
    // that the service has.
    for (int host = 0; host < kHosts; ++host) {
      const int number = getpid() * 4 + host;
      addresses_.push_back("127." + std::to_string(1 + (number >> 16) % 250) + "." +
                           std::to_string((number >> 8) % 256) + "." +
                           std::to_string(number % 256));
    }
  }

  // Opens host `index`; as the first it chooses the port. `incarnation` tells its processes apart.
  void Open(int index, uint64_t incarnation = 1) {
    hosts_[index] = std::make_unique<Host>(loop_);
    Host& host = *hosts_[index];
    net::FrontDoor::Options door;
    door.job_hash = net::HashJobName("job");
    auto opened =
        net::FrontDoor::Open(loop_, host.network, Address::Ip(addresses_[index], port_), door,
                             [&host](const net::Preamble&, std::unique_ptr<net::Socket> socket) {
                               host.links->Accept(std::move(socket));
                             });
    ASSERT_TRUE(opened.ok()) << opened.status();
    host.door = *std::move(opened);
    port_ = host.door->address().port;
    PeerLinks::Options options;
    options.self = {"job", {index, {7, incarnation}}, "build", "kernels", "configuration"};
    options.credentials = credentials_.get();
    for (int other = 0; other < kHosts; ++other) {
      if (other != index) options.peers.push_back({other});
    }
    options.whereabouts.service = "trainer.jobs.";
    options.whereabouts.port = port_name_.empty() ? std::to_string(port_) : port_name_;
    options.resolver = &resolver_;
    options.least_service_pause = std::chrono::milliseconds(5);
    options.most_pause = std::chrono::milliseconds(50);
    host.links = std::make_unique<PeerLinks>(
        loop_, host.network, random_, options,
        PeerLinks::Owner{
            [](MemberId, const Message&) {},
            [&host](const MemberProcess& supervisor) { host.up.push_back(supervisor); },
            [&host](const MemberProcess& supervisor) { host.down.push_back(supervisor); },
            [](const Status&) {}});
  }

  bool AreAllLinked() const {
    return std::all_of(hosts_.begin(), hosts_.end(), [](const std::unique_ptr<Host>& host) {
      return host != nullptr && host->links->DescribeMissing().empty();
    });
  }
  void PollUntilAllAreLinked() {
    while (!AreAllLinked()) loop_.PollOnce(Duration::max());
  }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  SystemFiles files_;
  std::unique_ptr<Credentials> credentials_ =
      Credentials::Open(loop_, files_, {.keys = {"key"}}).value();
  SystemRandom random_;
  std::vector<std::string> addresses_;
  uint16_t port_ = 0;
  std::string port_name_;
  std::function<Reply(const Question&)> script_ = [this](const Question&) {
    Reply reply;
    reply.addresses = addresses_;
    return reply;
  };
  net::ScriptedDnsServer server_{loop_, [this](const Question& asked) { return script_(asked); }};
  net::DnsResolver resolver_{loop_, [this] {
                               net::DnsResolver::Options options;
                               options.server_timeout = std::chrono::milliseconds(50);
                               options.servers = {server_.address()};
                               return options;
                             }()};
  std::vector<std::unique_ptr<Host>> hosts_{kHosts};
};

TEST_F(PeerLinksTest, HostsOfAServiceFindEachOther) {
  for (int host = 0; host < kHosts; ++host) Open(host);
  PollUntilAllAreLinked();
  // Whoever made a second line to the same process closes it, and nobody takes that for a loss.
  for (int round = 0; round < 200; ++round) loop_.PollOnce(std::chrono::milliseconds(1));
  EXPECT_TRUE(AreAllLinked());
  for (const auto& host : hosts_) {
    EXPECT_EQ(host->up.size(), 2u);
    EXPECT_TRUE(host->down.empty());
  }
}

TEST_F(PeerLinksTest, ByItsNamedPortToo) {
  port_name_ = "rendezvous";
  script_ = [this](const Question& asked) {
    Reply reply;
    if (asked.name == "_rendezvous._tcp.trainer.jobs") {
      for (int host = 0; host < kHosts; ++host) {
        reply.services.push_back({"trainer-" + std::to_string(host) + ".jobs", port_});
      }
    } else if (asked.name.starts_with("trainer-")) {
      reply.addresses = {addresses_[asked.name[8] - '0']};
    } else {
      reply.code = Reply::Code::kNoSuchName;
    }
    return reply;
  };
  for (int host = 0; host < kHosts; ++host) Open(host);
  PollUntilAllAreLinked();
}

TEST_F(PeerLinksTest, WhateverTheServersSayOnTheWay) {
  SeededRandom random(4);
  // Replicas that fail, know nothing yet, know some, or give stale and foreign addresses, too.
  script_ = [&](const Question&) {
    Reply reply;
    switch (random.Below(6)) {
      case 0:
        reply.code = Reply::Code::kServerFailure;
        break;
      case 1:
        reply.code = Reply::Code::kNoSuchName;
        break;
      case 2:
        reply.is_silent = true;
        break;
      case 3:
        reply.addresses = {addresses_[random.Below(kHosts)], addresses_[random.Below(kHosts)]};
        reply.delay = std::chrono::milliseconds(random.Below(30));
        break;
      default:
        reply.addresses = {"127.255.255.1", addresses_[random.Below(kHosts)], "127.255.255.1"};
    }
    return reply;
  };
  for (int host = 0; host < kHosts; ++host) Open(host);
  PollUntilAllAreLinked();
}

TEST_F(PeerLinksTest, ASuccessorElsewhereIsFoundThoughTheOldAddressIsListedStill) {
  for (int host = 0; host < kHosts; ++host) Open(host);
  PollUntilAllAreLinked();
  const std::string old = addresses_[2];
  addresses_[2] =
      "127.254." + std::to_string(getpid() / 250 % 250) + "." + std::to_string(1 + getpid() % 250);
  script_ = [&](const Question&) {
    Reply reply;
    reply.addresses = {old, addresses_[0], addresses_[1], addresses_[2]};
    return reply;
  };
  hosts_[2].reset();
  Open(2, 2);
  PollUntilAllAreLinked();
  const MemberProcess successor{2, {7, 2}};
  for (int host : {0, 1}) EXPECT_EQ(hosts_[host]->up.back(), successor);
}

}  // namespace
}  // namespace closeranks::rendezvous
