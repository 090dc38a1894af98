#include "collectives/reduction/kernels.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "collectives/reduction/bfloat16.h"
#include "gtest/gtest.h"

namespace closeranks::collectives {
namespace {

constexpr InstructionSet kSets[] = {InstructionSet::kScalar, InstructionSet::kAvx2,
                                    InstructionSet::kAvx512};
constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat64, DataType::kBFloat16,
                               DataType::kInt64};

// Random bits: every exponent, infinities, NaNs and denormals included.
std::vector<char> RandomBytes(size_t bytes, SeededRandom& random) {
  std::vector<char> result(bytes);
  for (char& c : result) c = static_cast<char>(random.Next());
  return result;
}

bool IsNan(DataType type, const char* at) {
  if (type == DataType::kFloat32) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return std::isnan(value);
  }
  if (type == DataType::kFloat64) {
    double value;
    std::memcpy(&value, at, sizeof(value));
    return std::isnan(value);
  }
  if (type == DataType::kBFloat16) {
    uint16_t bits;
    std::memcpy(&bits, at, sizeof(bits));
    return std::isnan(FloatFromBFloat16(bits));
  }
  return false;
}

// Which NaN comes out of two isn't defined; that one comes out is.
void ExpectSameBits(DataType type, const char* got, const char* expected, size_t count) {
  const size_t size = SizeOf(type);
  for (size_t i = 0; i < count; ++i) {
    if (IsNan(type, expected + i * size)) {
      ASSERT_TRUE(IsNan(type, got + i * size)) << "element " << i;
    } else {
      ASSERT_EQ(std::memcmp(got + i * size, expected + i * size, size), 0) << "element " << i;
    }
  }
}

class KernelsTest : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    if (!IsSupported(GetParam())) GTEST_SKIP() << "needs " << InstructionSetName(GetParam());
  }
};

INSTANTIATE_TEST_SUITE_P(Sets, KernelsTest, testing::ValuesIn(kSets), [](const auto& info) {
  return std::string(InstructionSetName(info.param));
});

TEST_P(KernelsTest, SumsLikeThePlainLoopAtEveryLengthAndAlignment) {
  SeededRandom random(1);
  for (DataType type : kTypes) {
    const Kernels kernels = KernelsFor(GetParam(), type);
    const Kernels plain = KernelsFor(InstructionSet::kScalar, type);
    const size_t size = SizeOf(type);
    for (size_t count : {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 257, 1000}) {
      for (size_t offset : {0, 1, 3}) {  // bytes
        const std::vector<char> left = RandomBytes(offset + count * size, random);
        const std::vector<char> right = RandomBytes(offset + count * size + 1, random);
        std::vector<char> expected(count * size);
        plain.sum(expected.data(), left.data() + offset, right.data() + offset + 1, count);
        std::vector<char> out(offset + count * size + 1, 'x');
        kernels.sum(out.data() + offset, left.data() + offset, right.data() + offset + 1, count);
        ExpectSameBits(type, out.data() + offset, expected.data(), count);
        EXPECT_EQ(out.back(), 'x') << "written beyond the end";
        std::vector<char> in_place = left;
        kernels.sum(in_place.data() + offset, in_place.data() + offset, right.data() + offset + 1,
                    count);
        ExpectSameBits(type, in_place.data() + offset, expected.data(), count);
        in_place = right;
        kernels.sum(in_place.data() + offset + 1, left.data() + offset,
                    in_place.data() + offset + 1, count);
        ExpectSameBits(type, in_place.data() + offset + 1, expected.data(), count);
      }
    }
  }
}

TEST_P(KernelsTest, DividesLikeThePlainLoop) {
  SeededRandom random(2);
  for (DataType type : {DataType::kFloat32, DataType::kFloat64, DataType::kBFloat16}) {
    const Kernels kernels = KernelsFor(GetParam(), type);
    const Kernels plain = KernelsFor(InstructionSet::kScalar, type);
    for (size_t count : {0, 1, 5, 16, 17, 33, 100}) {
      const std::vector<char> values = RandomBytes(1 + count * SizeOf(type), random);
      std::vector<char> got = values, expected = values;
      kernels.divide(got.data() + 1, 3, count);
      plain.divide(expected.data() + 1, 3, count);
      ExpectSameBits(type, got.data() + 1, expected.data() + 1, count);
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(BFloat16FromFloat(1.0f), 0x3f80);
  EXPECT_EQ(BFloat16FromFloat(1.0f + 1.0f / 256), 0x3f80);  // a tie, to even
  EXPECT_EQ(BFloat16FromFloat(1.0f + 3.0f / 256), 0x3f82);  // a tie, to even
  EXPECT_EQ(BFloat16FromFloat(1.0f + 1.1f / 256), 0x3f81);  // above the tie
  EXPECT_EQ(BFloat16FromFloat(-2.0f), 0xc000);
  EXPECT_EQ(BFloat16FromFloat(std::numeric_limits<float>::max()), 0x7f80);  // infinity
  EXPECT_TRUE(std::isnan(FloatFromBFloat16(BFloat16FromFloat(std::nanf("")))));
}

TEST(Kernels, IntegersWrapAroundAndHaveNoAverage) {
  const int64_t left = std::numeric_limits<int64_t>::max(), right = 1;
  int64_t out = 0;
  const Kernels kernels = KernelsFor(BestInstructionSet(), DataType::kInt64);
  kernels.sum(&out, &left, &right, 1);
  EXPECT_EQ(out, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(kernels.divide, nullptr);
}

}  // namespace
}  // namespace closeranks::collectives
