#include "cli/own_address.h"

#include <string>
#include <vector>

#include "gflags/gflags.h"
#include "gtest/gtest.h"

DECLARE_string(listen);
DECLARE_string(advertise);

namespace closeranks::cli {
namespace {

using net::Address;

class OwnAddressTest : public testing::Test {
 protected:
  // Of host `index` of these.
  Result<OwnAddress> Parse(const std::string& where, int index = 0,
                           const std::string& pod_ip = "") {
    Hosts hosts;
    hosts.are_several = true;
    hosts.where = rendezvous::Whereabouts::Parse(where).value();
    hosts.index = index;
    Environment environment;
    if (!pod_ip.empty()) environment.pod_ip = pod_ip;
    return ParseOwnAddress(hosts, environment);
  }

  google::FlagSaver flags_;
};

TEST_F(OwnAddressTest, ALiteralOfTheListIsWhereItListensAndIsReached) {
  const OwnAddress own = Parse("10.0.0.1:29400,[fd00::2]:29401", 1, "10.9.9.9").value();
  EXPECT_EQ(own.listen, Address::Ip("fd00::2", 29401));
  EXPECT_EQ(own.advertised, own.listen);
}

TEST_F(OwnAddressTest, WithoutALiteralItListensOnEveryAddressOfBothFamilies) {
  EXPECT_EQ(Parse("trainer-0:29400").value().listen, Address::Ip("::", 29400));
  EXPECT_EQ(Parse("dns:trainer:29400").value().listen, Address::Ip("::", 29400));
  EXPECT_EQ(Parse("file:/shared").value().listen, Address::Ip("::", 0));
}

TEST_F(OwnAddressTest, WhatIsSaidInNumbersIsAdvertisedInsteadOfAName) {
  EXPECT_EQ(Parse("trainer-0:29400", 0, "fd00::7").value().advertised, Address::Ip("fd00::7", 0));
  EXPECT_EQ(Parse("trainer-0:29400").value().advertised, Address::Ip("trainer-0", 29400));
  FLAGS_listen = "10.0.0.7:29500";
  EXPECT_EQ(Parse("trainer-0:29400", 0, "fd00::7").value().advertised, Address::Ip("10.0.0.7", 0));
  FLAGS_advertise = "10.0.0.8";
  EXPECT_EQ(Parse("trainer-0:29400", 0, "fd00::7").value().advertised, Address::Ip("10.0.0.8", 0));
}

TEST_F(OwnAddressTest, WhatOthersCantConnectToIsRefused) {
  for (const char* wrong : {"10.0.0.5:29400", "[fd00::5]", "trainer-0", "0.0.0.0", "::"}) {
    FLAGS_advertise = wrong;
    const Status status = Parse("file:/shared").status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << wrong;
    EXPECT_EQ(status.message().find("--advertise=" + std::string(wrong) + ": expected an IP"), 0u)
        << status;
  }
  FLAGS_advertise = "";
  EXPECT_EQ(Parse("file:/shared", 0, "pod").status().code(), StatusCode::kInvalidArgument);
  FLAGS_listen = "trainer-0:29400";
  EXPECT_EQ(Parse("file:/shared").status().code(), StatusCode::kInvalidArgument);
}

TEST_F(OwnAddressTest, AServicesNamedPortNeedsToBeGivenInNumbers) {
  const Status status = Parse("dns:trainer:rendezvous").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("--listen=[::]:PORT"), std::string::npos) << status;
  FLAGS_listen = "[::]:29400";
  EXPECT_EQ(Parse("dns:trainer:rendezvous").value().listen, Address::Ip("::", 29400));
}

TEST_F(OwnAddressTest, OfWhatItsNameLeadsToAHostTellsTheOthersOnlyWhatItHas) {
  const Address name = Address::Ip("trainer-0", 29400);
  const auto literal = [&](const Result<std::vector<Address>>& answer) {
    return OwnLiteral(name, [&](const Address& asked) {
      EXPECT_EQ(asked, name);
      return answer;
    });
  };
  const auto own = net::OwnAddresses();
  if (!own.ok()) {
    const Address loopback = Address::Ip("127.0.1.1", 29400);
    EXPECT_EQ(literal(std::vector<Address>{loopback}).value(), Address::Ip("127.0.1.1", 0));
    EXPECT_EQ(literal(Unavailable("no such name")).status().code(), StatusCode::kUnavailable);
    return;
  }
  // As some systems have it in /etc/hosts; what a lost pod had; and a name that isn't there yet.
  const Address first = Address::Ip(own->front(), 0), last = Address::Ip(own->back(), 0);
  EXPECT_EQ(literal(std::vector<Address>{Address::Ip("127.0.1.1", 29400)}).value(), first);
  EXPECT_EQ(literal(std::vector<Address>{Address::Ip("192.0.2.99", 29400)}).value(), first);
  EXPECT_EQ(literal(Unavailable("no such name")).value(), first);
  // Of several that it has, the one that is meant.
  const Address meant = Address::Ip(own->back(), 29400);
  EXPECT_EQ(literal(std::vector<Address>{Address::Ip("192.0.2.99", 29400), meant}).value(), last);
}

TEST_F(OwnAddressTest, ANameIsLookedUpWhereHostsAreFound) {
  EXPECT_EQ(LookUp(Address::Ip("localhost", 29400)).value().front(),
            Address::Ip("127.0.0.1", 29400));
}

}  // namespace
}  // namespace closeranks::cli
