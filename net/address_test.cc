#include "net/address.h"

#include <string>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

TEST(Address, PrintsWhatItParses) {
  for (const std::string text :
       {"10.0.0.7:29400", "[::1]:1", "[fe80::1%1]:80", "trainer-0.trainer.default.svc:29400",
        "localhost:0", "unix:@closeranks-4711", "127.0.0.1:65535"}) {
    Result<Address> address = Address::Parse(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->ToString(), text);
    EXPECT_EQ(*Address::Parse(address->ToString()), *address);
  }
}

TEST(Address, RefusesWhatIsNoneAndSaysWhy) {
  for (const std::string text : {"", "host", "host:", ":80", "host:65536", "host:-1", "host:80x",
                                 "host: 80", "::1:80", "[::1]", "[::1]x:80", "[host]:80",
                                 "[10.0.0.1]:80", "a b:80", "unix:@", "unix:/tmp/socket"}) {
    Result<Address> address = Address::Parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(address.status().message().find("\"" + text + "\""), std::string::npos);
  }
  EXPECT_FALSE(Address::Parse("unix:@" + std::string(108, 'x')).ok());
  EXPECT_TRUE(Address::Parse("unix:@" + std::string(107, 'x')).ok());
}

TEST(Address, KnowsLiteralsFromNames) {
  EXPECT_TRUE(Address::Ip("10.0.0.7", 1).IsNumeric());
  EXPECT_TRUE(Address::Ip("::1", 1).IsNumeric());
  EXPECT_TRUE(Address::Unix("x").IsNumeric());
  EXPECT_FALSE(Address::Ip("localhost", 1).IsNumeric());
  EXPECT_FALSE(Address::Ip("trainer-0", 1).IsNumeric());
}

TEST(Address, KnowsWhatOtherHostsDontReach) {
  for (const char* host : {"127.0.0.1", "127.3.2.1", "::1"}) {
    EXPECT_TRUE(Address::Ip(host, 1).IsLoopback()) << host;
  }
  EXPECT_TRUE(Address::Unix("x").IsLoopback());
  for (const char* host : {"0.0.0.0", "::", "10.0.0.7", "fe80::1", "localhost"}) {
    EXPECT_FALSE(Address::Ip(host, 1).IsLoopback()) << host;
  }
}

TEST(Address, SurvivesTheKernelsForm) {
  for (const Address& address :
       {Address::Ip("10.0.0.7", 29400), Address::Ip("::1", 80), Address::Unix("name"),
        Address::Unix(std::string("with\0zero", 9))}) {
    Result<SocketAddress> socket_address = ToSocketAddress(address);
    ASSERT_TRUE(socket_address.ok()) << socket_address.status();
    EXPECT_EQ(FromSocketAddress(*socket_address), address);
  }
  EXPECT_EQ(ToSocketAddress(Address::Ip("trainer-0", 1)).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace closeranks::net
