#include <signal.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
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
    for (size_t count : {0, 1, 1000, 100003, 400000}) {
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

TEST_P(CollectivesTest, ShardsGiveTheSameBitsAsOneRankAlone) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    auto communicator = process.MakeCommunicator(1);
    const int shards = 12;
    const size_t count = 100003;
    const ShardTree tree(shards);
    SeededRandom random(4);  // the same on every rank
    std::vector<std::vector<float>> contributions(shards, std::vector<float>(count));
    for (auto& contribution : contributions) {
      for (float& value : contribution) value = static_cast<float>(random.Next()) * 1e-17f;
    }
    const std::function<std::vector<float>(ShardRun)> sum = [&](ShardRun node) {
      if (node.length() == 1) return contributions[node.begin];
      const auto [left, right] = ShardTree::Children(node);
      std::vector<float> result = sum(left);
      const std::vector<float> other = sum(right);
      for (size_t i = 0; i < count; ++i) result[i] += other[i];
      return result;
    };
    const std::vector<float> expected = sum(tree.root());
    for (int round = 0; round < 4; ++round) {
      std::vector<int> owners;
      for (int shard = 0; shard < shards; ++shard) {
        owners.push_back(round == 0 ? shard * process.size() / shards
                                    : static_cast<int>(random.Below(process.size())));
      }
      std::vector<std::vector<float>> inputs;
      std::vector<ShardContribution> mine;
      for (ShardRun run : tree.MaximalNodesOf(owners, process.rank())) {
        inputs.push_back(sum(run));
        mine.push_back({run, inputs.back().data()});
      }
      std::vector<float> output(count);
      const Status status =
          communicator->AllReduceShards(mine, owners, output.data(), count, DataType::kFloat32)
              .Wait();
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(std::memcmp(output.data(), expected.data(), count * sizeof(float)), 0);
    }
    process.Checkpoint();
  });
  world.PassCheckpoint(Ranks(size()));
  world.ExpectSuccess(Ranks(size()));
}

TEST_P(CollectivesTest, WorksGoOnWhileNobodyWaits) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    auto communicator = process.MakeCommunicator(1);
    const int operations = 20;
    const size_t count = 50000;
    std::vector<std::vector<float>> values;
    std::vector<Work> works;
    for (int i = 0; i < operations; ++i) {
      values.emplace_back(count, static_cast<float>(process.rank() + i));
      works.push_back(communicator->AllReduce(values[i].data(), values[i].data(), count,
                                              DataType::kFloat32, Reduction::kSum));
    }
    // Only looks: the progress thread has to do it.
    for (const Work& work : works) {
      while (!work.IsDone()) std::this_thread::yield();
    }
    const int n = process.size();
    for (int i = 0; i < operations; ++i) {
      EXPECT_TRUE(works[i].Wait().ok());
      const auto expected = static_cast<float>(n * (n - 1) / 2 + n * i);
      EXPECT_EQ(values[i], std::vector<float>(count, expected));
    }
    process.Checkpoint();
  });
  world.PassCheckpoint(Ranks(size()));
  world.ExpectSuccess(Ranks(size()));
}

TEST_P(CollectivesTest, MismatchIsNamedOnEveryRank) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    auto communicator = process.MakeCommunicator(1);
    std::vector<float> data(100);
    Work work = process.rank() == 0
                    ? communicator->AllReduce(data.data(), data.data(), 100, DataType::kFloat32,
                                              Reduction::kSum)
                    : communicator->AllGather(data.data(), data.data(), 10, DataType::kFloat32);
    const Status status = work.Wait();
    EXPECT_EQ(status.code(), StatusCode::kMismatch) << status;
    EXPECT_NE(status.message().find("rank 0 called all-reduce float32 x 100 sum"),
              std::string::npos)
        << status;
    EXPECT_NE(status.message().find("called all-gather float32 x 10"), std::string::npos) << status;
    process.Checkpoint();
  });
  world.PassCheckpoint(Ranks(size()));
  world.ExpectSuccess(Ranks(size()));
}

// All-reduces of some size until one fails.
Status AllReduceUntilFailure(Communicator& communicator) {
  std::vector<float> data(1 << 20, 1);
  while (true) {
    Status status = communicator
                        .AllReduce(data.data(), data.data(), data.size(), DataType::kFloat32,
                                   Reduction::kAverage)
                        .Wait();
    if (!status.ok()) return status;
  }
}

std::vector<int> Without(std::vector<int> ranks, int victim) {
  std::erase(ranks, victim);
  return ranks;
}

// A victim is killed in the middle of all-reduces by this algorithm; the others must all hear of
// it, and go on with a new generation on the same transports.
void KillInTheMiddle(int size, Wire wire, collectives::Algorithm algorithm, int victim) {
  NativeCommunicatorOptions options;
  options.native.all_reduce = algorithm;
  ProcessWorld world(size, wire, [&](RankProcess& process) {
    auto communicator = process.MakeCommunicator(1, {}, options);
    CheckAllReduce<float>(*communicator, DataType::kFloat32, Reduction::kSum, 1000, true);
    process.TellParent();
    const Status status = AllReduceUntilFailure(*communicator);
    EXPECT_EQ(status.code(), StatusCode::kPeerLost) << status;
    EXPECT_EQ(status.suspected_rank(), victim) << status;
    const auto [lost, why] = process.WaitForLost();
    EXPECT_EQ(lost.member, victim) << why;
    // (Ranks that are in the new generation already send to others that are not.)
    auto next = process.MakeCommunicator(2, Without(Ranks(process.size()), victim), options);
    for (size_t count : {1, 1000, 1000000}) {
      CheckAllReduce<float>(*next, DataType::kFloat32, Reduction::kSum, count, false);
    }
    EXPECT_EQ(communicator->Barrier().Wait().code(), StatusCode::kPeerLost);
    process.Checkpoint();
  });
  for (int rank : Ranks(size)) EXPECT_TRUE(world.WaitFor(rank));
  world.Signal(victim, SIGKILL);
  EXPECT_EQ(world.Join(victim), -SIGKILL);
  world.PassCheckpoint(Without(Ranks(size), victim));
  world.ExpectSuccess(Without(Ranks(size), victim));
}

TEST(Abort, PeerKilledMidRingUnblocksEveryRank) {
  for (Wire wire : {Wire::kTcp, Wire::kShm}) {
    for (int victim : {0, 2}) {
      KillInTheMiddle(4, wire, collectives::Algorithm::kRingAllReduce, victim);
    }
  }
}

TEST(Abort, PeerKilledInADirectAllReduceUnblocksEveryRank) {
  for (Wire wire : {Wire::kTcp, Wire::kShm}) {
    KillInTheMiddle(2, wire, collectives::Algorithm::kDirectAllReduce, 0);
    KillInTheMiddle(4, wire, collectives::Algorithm::kDirectAllReduce, 3);
  }
}

TEST_P(CollectivesTest, DeathIsNoticedWhileNoOperationIsUnderWay) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    auto communicator = process.MakeCommunicator(1);
    EXPECT_TRUE(communicator->Barrier().Wait().ok());
    process.TellParent();
    const auto [lost, why] = process.WaitForLost();
    EXPECT_EQ(lost.member, 1);
    EXPECT_EQ(why.code(), StatusCode::kPeerLost) << why;
    EXPECT_EQ(communicator->health().code(), StatusCode::kPeerLost);
    EXPECT_EQ(communicator->health().suspected_rank(), 1);
    process.Checkpoint();
  });
  for (int rank : Ranks(size())) EXPECT_TRUE(world.WaitFor(rank));
  world.Signal(1, SIGKILL);
  world.PassCheckpoint(Without(Ranks(size()), 1));
  world.ExpectSuccess(Without(Ranks(size()), 1));
}

TEST_P(CollectivesTest, StoppedPeerEndsInATimeoutThatNamesTheOperation) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    NativeCommunicatorOptions options;
    options.communicator.timeout = std::chrono::milliseconds(300);
    auto communicator = process.MakeCommunicator(1, {}, options);
    process.TellParent();
    if (process.rank() == 1) process.WaitForParent();  // stopped before it is told
    std::vector<float> data(100000);
    Status status =
        communicator
            ->AllReduce(data.data(), data.data(), data.size(), DataType::kFloat32, Reduction::kSum)
            .Wait();
    EXPECT_EQ(status.code(), StatusCode::kTimeout) << status;
    EXPECT_EQ(status.op_sequence(), 0u) << status;
    EXPECT_NE(status.message().find("all-reduce float32 x 100000 sum"), std::string::npos)
        << status;
    if (process.size() == 2) {
      EXPECT_EQ(status.suspected_rank(), 1) << status;
    }
    process.Checkpoint();
  });
  EXPECT_TRUE(world.WaitFor(1));
  world.Signal(1, SIGSTOP);
  for (int rank : Without(Ranks(size()), 1)) EXPECT_TRUE(world.WaitFor(rank));
  world.PassCheckpoint(Without(Ranks(size()), 1));
  world.ExpectSuccess(Without(Ranks(size()), 1));
}

TEST_P(CollectivesTest, GenerationsFollowEachOtherUnderLoad) {
  ProcessWorld world(size(), wire(), [](RankProcess& process) {
    SeededRandom random(static_cast<uint64_t>(process.rank()));
    for (Generation generation = 1; generation <= 30; ++generation) {
      auto communicator = process.MakeCommunicator(generation);
      int64_t one = 1;
      const Status first =
          communicator->AllReduce(&one, &one, 1, DataType::kInt64, Reduction::kSum).Wait();
      // A peer that is done with this generation already may have left it in the middle of ours.
      if (first.ok()) {
        EXPECT_EQ(one, process.size());
      }
      std::vector<std::vector<float>> data(4, std::vector<float>(200000, 1));
      std::vector<Work> works;
      for (auto& values : data) {
        works.push_back(communicator->AllReduce(values.data(), values.data(), values.size(),
                                                DataType::kFloat32, Reduction::kSum));
      }
      if (random.OneIn(2)) (void)works[random.Below(2)].IsDone();
      for (uint64_t yields = random.Below(200); yields > 0; --yields) std::this_thread::yield();
      communicator->Abort(Aborted("next"));
      for (Work& work : works) {
        EXPECT_TRUE(work.IsDone());
        const Status status = work.Wait();
        EXPECT_TRUE(status.ok() || status == Aborted("next")) << status;
      }
    }
    auto last = process.MakeCommunicator(100);
    for (size_t count : {1, 1000, 500000}) {
      CheckAllReduce<float>(*last, DataType::kFloat32, Reduction::kSum, count, true);
    }
    process.Checkpoint();
  });
  world.PassCheckpoint(Ranks(size()));
  world.ExpectSuccess(Ranks(size()));
}

}  // namespace
}  // namespace closeranks
