#include "base/status.h"

#include <cerrno>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

Result<int> Half(int number) {
  if (number % 2 != 0) return InvalidArgument("odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  ASSIGN_OR_RETURN(int half, Half(number));
  return Half(half);
}

TEST(Status, AnErrorTravelsUpUnchanged) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status(), InvalidArgument("odd"));
}

TEST(Status, SaysWhereItHappened) {
  Status status = PeerLost("reset").WithSuspectedRank(2).WithGeneration(3).WithOpSequence(17);
  EXPECT_EQ(status.ToString(), "kPeerLost: reset (rank 2, generation 3, op 17)");
  EXPECT_EQ(status.WithContext("all-reduce").message(), "all-reduce: reset");
  EXPECT_EQ(status.WithContext("all-reduce").suspected_rank(), 2);
}

TEST(Status, ErrorNumbersHaveTheirReaction) {
  EXPECT_EQ(ErrnoStatus(ECONNRESET, "x").code(), StatusCode::kPeerLost);
  EXPECT_EQ(ErrnoStatus(ENOSPC, "x").code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus(ECONNREFUSED, "x").code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace closeranks
