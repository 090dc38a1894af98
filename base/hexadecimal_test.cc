#include "base/hexadecimal.h"

#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(Hexadecimal, HasAllDigitsTheGreatestFirst) {
  EXPECT_EQ(Hexadecimal(0), "0000000000000000");
  EXPECT_EQ(Hexadecimal(0x0123456789abcdef), "0123456789abcdef");
  EXPECT_EQ(Hexadecimal(~uint64_t{0}), "ffffffffffffffff");
}

}  // namespace
}  // namespace closeranks
