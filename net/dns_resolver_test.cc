#include "net/dns_resolver.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/scripted_dns_server.h"

namespace closeranks::net {
namespace {

using Answer = Result<std::vector<Address>>;
using Question = ScriptedDnsServer::Question;
using Reply = ScriptedDnsServer::Reply;
using Script = ScriptedDnsServer::Script;
using Type = ScriptedDnsServer::Type;

class DnsResolverTest : public testing::Test {
 protected:
  // A resolver that asks servers with these scripts, in this order.
  void Start(const std::vector<Script>& scripts, std::vector<std::string> domains = {}) {
    DnsResolver::Options options;
    options.server_timeout = std::chrono::milliseconds(100);
    options.search_domains = std::move(domains);
    for (const Script& script : scripts) {
      servers_.push_back(std::make_unique<ScriptedDnsServer>(loop_, script));
      options.servers.push_back(servers_.back()->address());
    }
    resolver_.emplace(loop_, options);
  }

  Answer Await(std::optional<Answer>& answer) {
    EXPECT_FALSE(answer) << "it called back from inside";
    while (!answer) loop_.PollOnce(Duration::max());
    return *answer;
  }
  Answer Ask(const std::string& host, uint16_t port = 80) {
    std::optional<Answer> answer;
    resolver_->Resolve(Address::Ip(host, port), [&](const Answer& got) { answer = got; });
    return Await(answer);
  }
  Answer AskService(const std::string& service, const std::string& port) {
    std::optional<Answer> answer;
    resolver_->ResolveService(service, port, [&](const Answer& got) { answer = got; });
    return Await(answer);
  }

  SystemClock clock_;
  EventLoop loop_{clock_};
  std::vector<std::unique_ptr<ScriptedDnsServer>> servers_;
  std::optional<DnsResolver> resolver_;
};

std::vector<Address> At(const std::vector<std::string>& hosts, uint16_t port = 80) {
  std::vector<Address> addresses;
  for (const std::string& host : hosts) addresses.push_back(Address::Ip(host, port));
  return addresses;
}

std::vector<Address> Sorted(std::vector<Address> addresses) {
  std::sort(addresses.begin(), addresses.end());
  return addresses;
}

Reply Addresses(std::vector<std::string> addresses) {
  Reply reply;
  reply.addresses = std::move(addresses);
  return reply;
}

Reply Coded(Reply::Code code) {
  Reply reply;
  reply.code = code;
  return reply;
}

TEST_F(DnsResolverTest, LiteralsAreTheirOwnAnswer) {
  Start({});
  for (const Address& address :
       {Address::Ip("10.0.0.7", 80), Address::Ip("::1", 80), Address::Unix("name")}) {
    std::optional<Answer> answer;
    resolver_->Resolve(address, [&](const Answer& got) { answer = got; });
    EXPECT_EQ(Await(answer).value(), std::vector<Address>{address});
  }
  EXPECT_EQ(Ask("localhost").value(), At({"127.0.0.1", "::1"}));
}

TEST_F(DnsResolverTest, BothFamiliesAreAskedForAndDuplicatesAnsweredOnce) {
  Start({[](const Question&) {
    return Addresses({"10.0.0.1", "10.0.0.2", "10.0.0.1", "fd00::1"});
  }});
  EXPECT_EQ(Sorted(Ask("trainer.jobs.", 29400).value()),
            Sorted(At({"10.0.0.1", "10.0.0.2", "fd00::1"}, 29400)));
}

TEST_F(DnsResolverTest, OneFamilyIsEnough) {
  Start({[](const Question& question) {
    return question.type == Type::kA ? Coded(Reply::Code::kServerFailure) : Addresses({"fd00::1"});
  }});
  EXPECT_EQ(Ask("trainer.jobs.").value(), At({"fd00::1"}));
}

TEST_F(DnsResolverTest, AShortNameIsLookedForInTheSearchDomainsAWholeOneIsNot) {
  Start({[](const Question& question) {
          return question.name == "trainer.jobs.svc.cluster.local"
                     ? Addresses({"10.0.0.1"})
                     : Coded(Reply::Code::kNoSuchName);
        }},
        {"jobs.svc.cluster.local", "svc.cluster.local"});
  EXPECT_EQ(Ask("trainer").value(), At({"10.0.0.1"}));
  for (const Question& question : servers_[0]->questions()) {
    EXPECT_EQ(question.name, "trainer.jobs.svc.cluster.local") << "the first domain has it";
  }
  EXPECT_EQ(Ask("trainer.jobs.svc.cluster.local.").value(), At({"10.0.0.1"}));
}

TEST_F(DnsResolverTest, AWholeNameThatIsNotThereIsAskedForOnlyAsItIs) {
  Start({[](const Question&) { return Coded(Reply::Code::kNoSuchName); }}, {"svc.cluster.local"});
  const Answer answer = Ask("trainer-0.jobs.");
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(answer.status().message().find("trainer-0.jobs."), std::string::npos);
  for (const Question& question : servers_[0]->questions()) {
    EXPECT_EQ(question.name, "trainer-0.jobs");
  }
}

TEST_F(DnsResolverTest, ANameThatEndsInASearchDomainIsWhole) {
  Start({[](const Question&) { return Coded(Reply::Code::kNoSuchName); }},
        {"jobs.svc.cluster.local", "svc.cluster.local", "cluster.local"});
  EXPECT_FALSE(Ask("trainer.jobs.svc.cluster.local").ok());
  EXPECT_FALSE(AskService("trainer.jobs.svc.cluster.local", "rendezvous").ok());
  for (const Question& question : servers_[0]->questions()) {
    EXPECT_TRUE(question.name == "trainer.jobs.svc.cluster.local" ||
                question.name == "_rendezvous._tcp.trainer.jobs.svc.cluster.local")
        << question.name;
  }
}

TEST_F(DnsResolverTest, WhatIsNotThereYetIsFoundOnceItIs) {
  bool is_there = false;
  Start({[&](const Question&) {
    return is_there ? Addresses({"10.0.0.1"}) : Coded(Reply::Code::kNoSuchName);
  }});
  EXPECT_FALSE(Ask("trainer-0.jobs.").ok());
  is_there = true;
  EXPECT_EQ(Ask("trainer-0.jobs.").value(), At({"10.0.0.1"}));
}

TEST_F(DnsResolverTest, AServerThatFailsOrIsSilentIsPassedOverForTheNext) {
  for (const Reply& bad : {Coded(Reply::Code::kServerFailure), Coded(Reply::Code::kRefused),
                           Reply{.is_silent = true}, Reply{.is_garbage = true}}) {
    servers_.clear();
    Start({[bad](const Question&) { return bad; },
           [](const Question&) { return Addresses({"10.0.0.1"}); }});
    EXPECT_EQ(Ask("trainer-0.jobs.").value(), At({"10.0.0.1"}));
  }
}

TEST_F(DnsResolverTest, ServersThatAllFailAreSaidInTheError) {
  Start({[](const Question&) { return Coded(Reply::Code::kServerFailure); }});
  EXPECT_EQ(Ask("trainer-0.jobs.").status().code(), StatusCode::kUnavailable);
  servers_.clear();
  Start({[](const Question&) { return Reply{.is_silent = true}; }});
  const Answer silent = Ask("trainer-0.jobs.");
  EXPECT_EQ(silent.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(silent.status().message().find("imeout"), std::string::npos) << silent.status();
}

TEST_F(DnsResolverTest, AnAnswerThatIsTooLongForADatagramComesByTcp) {
  std::vector<std::string> many;
  for (int i = 1; i <= 200; ++i) many.push_back("10.0.1." + std::to_string(i));
  Start({[many](const Question&) { return Addresses(many); }});
  EXPECT_EQ(Sorted(Ask("trainer.jobs.").value()), Sorted(At(many)));
  EXPECT_TRUE(servers_[0]->questions().back().over_tcp);
}

TEST_F(DnsResolverTest, AnAnswerThatIsCutShortAndNeverComesByTcpIsAnError) {
  Start({[](const Question& question) {
    std::vector<std::string> many;
    for (int i = 1; i <= 200; ++i) many.push_back("10.0.1." + std::to_string(i));
    Reply reply = Addresses(many);
    reply.is_silent = question.over_tcp;
    return reply;
  }});
  const Answer answer = Ask("trainer.jobs.");
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable) << "a part was taken for all";
  EXPECT_TRUE(servers_[0]->questions().back().over_tcp);
}

TEST_F(DnsResolverTest, AServiceThatHasOnlyIp6IsFound) {
  Start({[](const Question& question) {
    if (question.type != Type::kSrv) return Addresses({"fd00::1", "fd00::2"});
    Reply reply;
    reply.services = {{"a.trainer", 29400}};
    return reply;
  }});
  EXPECT_EQ(Sorted(Ask("trainer.jobs.").value()), At({"fd00::1", "fd00::2"}));
  EXPECT_EQ(Sorted(AskService("trainer.", "rendezvous").value()),
            At({"fd00::1", "fd00::2"}, 29400));
}

TEST_F(DnsResolverTest, ALateAnswerCountsIfItComesWithinTheServersTime) {
  Start({[](const Question&) {
    Reply reply = Addresses({"10.0.0.1"});
    reply.delay = std::chrono::milliseconds(50);
    return reply;
  }});
  EXPECT_EQ(Ask("trainer.jobs.").value(), At({"10.0.0.1"}));
}

TEST_F(DnsResolverTest, ASlowAnswerHoldsUpNoOther) {
  Start({[](const Question& question) {
    Reply reply = Addresses({"10.0.0.1"});
    reply.is_silent = question.name == "slow";
    return reply;
  }});
  std::vector<std::string> order;
  resolver_->Resolve(Address::Ip("slow.", 80), [&](const Answer&) { order.push_back("slow"); });
  resolver_->Resolve(Address::Ip("fast.", 80), [&](const Answer&) { order.push_back("fast"); });
  while (order.size() < 2) loop_.PollOnce(Duration::max());
  EXPECT_EQ(order, (std::vector<std::string>{"fast", "slow"}));
}

TEST_F(DnsResolverTest, AServiceIsFoundByItsNamedPort) {
  Start({[](const Question& question) {
          if (question.name == "_rendezvous._tcp.trainer.jobs.svc") {
            Reply reply;
            reply.services = {{"a.trainer.jobs.svc", 29400}, {"b.trainer.jobs.svc", 29401}};
            return reply;
          }
          if (question.name == "a.trainer.jobs.svc") return Addresses({"10.0.0.1", "fd00::1"});
          return Coded(Reply::Code::kNoSuchName);  // a record that is stale
        }},
        {"jobs.svc"});
  EXPECT_EQ(Sorted(AskService("trainer", "rendezvous").value()),
            Sorted(At({"10.0.0.1", "fd00::1"}, 29400)));
  EXPECT_EQ(AskService("trainer", "metrics").status().code(), StatusCode::kUnavailable);
}

TEST_F(DnsResolverTest, AServiceWhoseInstancesAreAllGoneIsUnavailable) {
  Start({[](const Question& question) {
    if (question.type != Type::kSrv) return Coded(Reply::Code::kNoSuchName);
    Reply reply;
    reply.services = {{"a.trainer", 29400}};
    return reply;
  }});
  EXPECT_EQ(AskService("trainer.", "rendezvous").status().code(), StatusCode::kUnavailable);
}

TEST_F(DnsResolverTest, NoAnswerComesAfterItsEnd) {
  Start({[](const Question&) { return Addresses({"10.0.0.1"}); }});
  int answers = 0;
  resolver_->Resolve(Address::Ip("10.0.0.7", 80), [&](const Answer&) { ++answers; });
  resolver_->Resolve(Address::Ip("trainer.", 80), [&](const Answer&) { ++answers; });
  resolver_->ResolveService("trainer.", "rendezvous", [&](const Answer&) { ++answers; });
  resolver_.reset();
  while (loop_.PollOnce(Duration::zero()) > 0) {
  }
  EXPECT_EQ(answers, 0);
}

TEST_F(DnsResolverTest, MayBeDestroyedInItsOwnCallback) {
  Start({[](const Question&) { return Addresses({"10.0.0.1"}); }});
  bool answered = false;
  resolver_->Resolve(Address::Ip("trainer.", 80), [&](const Answer&) {
    resolver_.reset();
    answered = true;
  });
  while (!answered) loop_.PollOnce(Duration::max());
}

}  // namespace
}  // namespace closeranks::net
