#include "elastic/state.h"

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

// One number.
class Counter final : public StateOwner {
 public:
  std::vector<Piece> Pieces() override {
    return {{"count", ElementType::kInt64, {}, {reinterpret_cast<char*>(&count), sizeof(count)}}};
  }
  Result<std::function<void()>> PrepareLoad(std::span<const Piece> pieces) override {
    ASSIGN_OR_RETURN(const Piece* piece, FindPiece(pieces, Pieces()[0]));
    return std::function<void()>(
        [this, piece] { count = *reinterpret_cast<const int64_t*>(piece->bytes.data()); });
  }
  int64_t count = 0;
};

struct Side {
  Side() {
    all.Add("", model);
    all.Add("user.schedule.", schedule);
    all.Add("user.scaler.", scaler);
  }
  Counter model, schedule, scaler;
  RunState all;
};

TEST(RunState, EachOwnerGetsItsOwn) {
  Side from, to;
  from.model.count = 1;
  from.schedule.count = 2;
  from.scaler.count = 3;
  std::vector<Piece> pieces = from.all.Pieces();
  std::swap(pieces.front(), pieces.back());
  auto take_over = to.all.PrepareLoad(pieces);
  ASSERT_TRUE(take_over.ok()) << take_over.status();
  EXPECT_EQ(to.schedule.count, 0) << "nothing is changed before it is told";
  (*take_over)();
  EXPECT_EQ(to.model.count, 1);
  EXPECT_EQ(to.schedule.count, 2);
  EXPECT_EQ(to.scaler.count, 3);
}

TEST(RunState, WhatIsMissingIsNamedWithItsOwner) {
  Side from, to;
  std::vector<Piece> pieces = from.all.Pieces();
  std::erase_if(pieces, [](const Piece& piece) { return piece.name == "user.scaler.count"; });
  const Status refused = to.all.PrepareLoad(pieces).status();
  EXPECT_EQ(refused.code(), StatusCode::kMismatch);
  EXPECT_EQ(refused.message(), "user.scaler.: 'count' isn't in the state to load");
}

TEST(RunState, WhatNobodyOwnsIsRefused) {
  Counter counter;
  RunState state;
  state.Add("a.", counter);
  std::vector<Piece> pieces = state.Pieces();
  pieces.push_back(OpaquePiece("b.x", ""));
  EXPECT_NE(state.PrepareLoad(pieces).status().message().find("'b.x'"), std::string::npos);
}

TEST(Piece, OpaqueOnesMayHaveAnyLengthAndOthersMust) {
  const std::vector<Piece> pieces = {OpaquePiece("o", "123"),
                                     {"t", ElementType::kFloat32, {2}, "12345678"}};
  EXPECT_TRUE(FindPiece(pieces, OpaquePiece("o", "")).ok());
  EXPECT_EQ(FindPiece(pieces, {"t", ElementType::kFloat32, {3}, ""}).status().message(),
            "'t' is F32 [3] here and F32 [2] in the state to load");
  EXPECT_FALSE(FindPiece(pieces, {"t", ElementType::kInt32, {2}, ""}).ok());
  EXPECT_FALSE(
      TensorBytes(ElementType::kFloat64, std::vector<int64_t>{1LL << 40, 1 << 20}).has_value());
  EXPECT_EQ(TensorBytes(ElementType::kBFloat16, std::vector<int64_t>{}), 2u);
}

TEST(State, AByteThatChangedOnTheWayIsNoticed) {
  std::string state = "some state";
  const uint64_t checksum = ChecksumOf(state);
  EXPECT_TRUE(CheckArrived(state, checksum).ok());
  state[3] ^= 1;
  EXPECT_EQ(CheckArrived(state, checksum).code(), StatusCode::kInternal);
}

}  // namespace
}  // namespace closeranks::elastic
