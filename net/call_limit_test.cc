#include "net/call_limit.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kStart = TimePoint(seconds(1000));

int CountTaken(CallLimit& limit, const Address& caller, TimePoint now, int calls) {
  int taken = 0;
  for (int i = 0; i < calls; ++i) taken += limit.Take(caller, now);
  return taken;
}

TEST(CallLimit, ABurstPassesAndThenAsManyAsTheTimeAllows) {
  CallLimit limit({.burst = 10, .per_second = 4});
  const Address caller = Address::Ip("10.0.0.1", 1);
  EXPECT_EQ(CountTaken(limit, caller, kStart, 100), 10);
  EXPECT_EQ(CountTaken(limit, caller, kStart + milliseconds(500), 100), 2);
  EXPECT_EQ(CountTaken(limit, caller, kStart + seconds(1000), 100), 10) << "it fills to the burst";
}

TEST(CallLimit, CallersAreApartWhateverTheirPort) {
  CallLimit limit({.burst = 3, .per_second = 1});
  EXPECT_EQ(CountTaken(limit, Address::Ip("10.0.0.1", 1), kStart, 3), 3);
  EXPECT_FALSE(limit.Take(Address::Ip("10.0.0.1", 2), kStart));
  EXPECT_TRUE(limit.Take(Address::Ip("10.0.0.2", 1), kStart));
}

TEST(CallLimit, AnIp6NetworkIsOneCallerAndAMappedAddressIsItsIp4) {
  EXPECT_EQ(CallerName(Address::Ip("2001:db8::1", 1)),
            CallerName(Address::Ip("2001:db8:0:0:ffff::2", 1)));
  EXPECT_NE(CallerName(Address::Ip("2001:db8::1", 1)),
            CallerName(Address::Ip("2001:db8:0:1::1", 1)));
  EXPECT_EQ(CallerName(Address::Ip("fe80::1%eth0", 1)), CallerName(Address::Ip("fe80::2", 1)));
  EXPECT_EQ(CallerName(Address::Ip("::ffff:10.0.0.1", 1)), CallerName(Address::Ip("10.0.0.1", 1)));
}

TEST(CallLimit, NobodyMakesItGrowAndWhoWasThereBeforeIsntHarmed) {
  CallLimit limit({.burst = 4, .per_second = 1, .max_callers = 100});
  const Address ours = Address::Ip("10.0.0.1", 1);
  EXPECT_TRUE(limit.Take(ours, kStart));
  int strangers = 0;
  for (int i = 0; i < 10'000; ++i) {
    strangers += limit.Take(Address::Ip("s" + std::to_string(i), 1), kStart);
    ASSERT_LE(limit.callers(), 101u);
  }
  EXPECT_LT(strangers, 110);
  EXPECT_EQ(CountTaken(limit, ours, kStart, 10), 3);
  // Those who have long been silent make room.
  EXPECT_TRUE(limit.Take(Address::Ip("new", 1), kStart + seconds(10)));
  EXPECT_LT(limit.callers(), 5u);
}

}  // namespace
}  // namespace closeranks::net
