#include "rendezvous/watch_order.h"

#include <numeric>

#include "gtest/gtest.h"

namespace closeranks::rendezvous {
namespace {

std::vector<MemberId> Watchers(MemberId members, int count) {
  std::vector<MemberId> all(members);
  std::iota(all.begin(), all.end(), 0);
  WatchLine line(std::move(all));
  std::vector<MemberId> first;
  for (int i = 0; i < count && !line.empty(); ++i) first.push_back(line.Next());
  return first;
}

TEST(WatchOrder, ReversesTheBitsOfANumber) {
  EXPECT_EQ(Watchers(16, 5), (std::vector<MemberId>{0, 8, 4, 12, 2}));
  EXPECT_EQ(Watchers(3, 5), (std::vector<MemberId>{0, 2, 1}));
  EXPECT_EQ(WatchOrder(1), 0x80000000u);
  EXPECT_EQ(WatchOrder(0x12345678), 0x1e6a2c48u);
}

TEST(WatchOrder, ATenthOfAllMembersInARowHasNoMoreThanTwoOfEightWatchers) {
  for (MemberId members : {100, 1000, 9999, 10000}) {
    const std::vector<MemberId> watchers = Watchers(members, 8);
    for (MemberId from = 0; from < members; ++from) {
      EXPECT_LE(std::count_if(watchers.begin(), watchers.end(),
                              [&](MemberId watcher) {
                                return watcher >= from && watcher < from + members / 10;
                              }),
                2);
    }
  }
}

}  // namespace
}  // namespace closeranks::rendezvous
