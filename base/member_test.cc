#include "base/member.h"

#include <sstream>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(Member, TwoStartsOfOneMemberDiffer) {
  SystemRandom random;
  EXPECT_NE(Incarnation::Draw(random), Incarnation::Draw(random));
}

TEST(Member, ARankIsAPlaceInTheWorld) {
  SeededRandom random(1);
  World world{3, {{0, Incarnation::Draw(random)}, {2, Incarnation::Draw(random)}}};
  EXPECT_EQ(world.RankOf(2), 1);
  EXPECT_EQ(world.RankOf(1), -1);
  EXPECT_EQ(world.RankOf(world.ranks[1]), 1);
  EXPECT_EQ(world.RankOf(MemberProcess{2, Incarnation::Draw(random)}), -1);
}

TEST(Member, SeededNumbersRepeat) {
  SeededRandom a(5), b(5), c(6);
  uint64_t first = a.Next();
  EXPECT_EQ(first, b.Next());
  EXPECT_NE(first, c.Next());
  for (int i = 0; i < 1000; ++i) EXPECT_LT(a.Below(7), 7u);
}

}  // namespace
}  // namespace closeranks
