#include <signal.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "collectives/communicator.h"
#include "collectives/reduction/bfloat16.h"
#include "gtest/gtest.h"
#include "tests/multiprocess/collectives_world.h"

namespace closeranks {
namespace {

using testing_world::ProcessWorld;
using testing_world::RankProcess;
using testing_world::Wire;

std::vector<int> Ranks(int size) {
  std::vector<int> ranks(size);
  for (int i = 0; i < size; ++i) ranks[i] = i;
  return ranks;
}

// Values that every rank can compute for each rank, small enough that any order of addition is
// exact.
double ValueOf(int rank, size_t element) {
  return static_cast<double>((static_cast<size_t>(rank) * 7 + element * 3) % 13) - 4;
}

template <typename T>
T Convert(double value) {
  return static_cast<T>(value);
}
struct BFloat16 {
  uint16_t bits;
  bool operator==(const BFloat16&) const = default;
};
template <>
BFloat16 Convert<BFloat16>(double value) {
  return {collectives::BFloat16FromFloat(static_cast<float>(value))};
}

template <typename T>
void CheckAllReduce(Communicator& communicator, DataType type, Reduction reduction, size_t count,
                    bool in_place) {
  std::vector<T> input(count), output(count);
  for (size_t i = 0; i < count; ++i) input[i] = Convert<T>(ValueOf(communicator.rank(), i));
  T* result = in_place ? input.data() : output.data();
  const Status status = communicator.AllReduce(input.data(), result, count, type, reduction).Wait();
  ASSERT_TRUE(status.ok()) << status;
  for (size_t i = 0; i < count; ++i) {
    double expected = 0;
    for (int rank = 0; rank < communicator.size(); ++rank) expected += ValueOf(rank, i);
    if (reduction == Reduction::kAverage) expected /= communicator.size();
    ASSERT_TRUE(std::memcmp(&result[i], &(const T&)Convert<T>(expected), sizeof(T)) == 0)
        << DataTypeName(type) << " " << ReductionName(reduction) << " element " << i << " of "
        << count;
  }
}

struct WorldCase {
  int size;
  Wire wire;
};

class CollectivesTest : public ::testing::TestWithParam<WorldCase> {
 protected:
  int size() const { return GetParam().size; }
  Wire wire() const { return GetParam().wire; }
};

INSTANTIATE_TEST_SUITE_P(Worlds, CollectivesTest,
                         ::testing::Values(WorldCase{2, Wire::kTcp}, WorldCase{4, Wire::kTcp},
                                           WorldCase{2, Wire::kShm}, WorldCase{4, Wire::kShm}),
                         [](const auto& info) {
                           return std::string(testing_world::WireName(info.param.wire)) +
                                  std::to_string(info.param.size);
                         });

TEST_P(CollectivesTest, AllReduceOfEveryTypeIsTheSum) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    auto communicator = process.MakeCommunicator(1);
    for (size_t count : {0, 1, 5, 1000, 100003, 1000000}) {
      for (bool in_place : {false, true}) {
        for (Reduction reduction : {Reduction::kSum, Reduction::kAverage}) {
          CheckAllReduce<float>(*communicator, DataType::kFloat32, reduction, count, in_place);
          CheckAllReduce<double>(*communicator, DataType::kFloat64, reduction, count, in_place);
          CheckAllReduce<BFloat16>(*communicator, DataType::kBFloat16, reduction, count, in_place);
        }
        CheckAllReduce<int64_t>(*communicator, DataType::kInt64, Reduction::kSum, count, in_place);
      }
    }
    process.Checkpoint();
  });
  world.PassCheckpoint(Ranks(size()));
  world.ExpectSuccess(Ranks(size()));
}

}  // namespace
}  // namespace closeranks
