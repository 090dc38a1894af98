// Communicators over simulated transports: what all ranks see together, deterministic by seed.
#include "collectives/communicator.h"

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "collectives/simulated_world.h"
#include "gtest/gtest.h"

namespace closeranks {
namespace {

using Communicators = std::vector<std::unique_ptr<Communicator>>;

Communicators MakeAll(SimulatedWorld& world, Generation generation,
                      Duration timeout = std::chrono::seconds(60)) {
  Communicators communicators;
  for (int rank = 0; rank < world.size(); ++rank) {
    communicators.push_back(world.MakeCommunicator(rank, generation, {}, timeout));
  }
  return communicators;
}

std::vector<float> RandomFloats(size_t count, SeededRandom& random) {
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(static_cast<int64_t>(random.Next())) * 1e-15f;
  }
  return values;
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void ExpectAllOk(std::vector<Work>& works) {
  for (size_t i = 0; i < works.size(); ++i) {
    const Status status = works[i].Wait();
    EXPECT_TRUE(status.ok()) << "work " << i << ": " << status;
  }
}

TEST(Communicator, EveryOperationWorksForAnyNumberOfRanks) {
  for (int size : {1, 2, 3, 4, 5, 8, 9, 13}) {
    SCOPED_TRACE("n = " + std::to_string(size));
    SimulatedWorld world(size, 1);
    Communicators all = MakeAll(world, 1);
    for (size_t count : {1, 100, 30000}) {
      std::vector<std::vector<int64_t>> sums(size), gathered(size), copies(size);
      std::vector<Work> works;
      for (int rank = 0; rank < size; ++rank) {
        for (size_t i = 0; i < count; ++i) sums[rank].push_back(rank * 1000 + int64_t(i));
        copies[rank] = sums[rank];
        gathered[rank].resize(count * size);
        // In place: each operation's input is the next one's too.
        works.push_back(all[rank]->AllGather(copies[rank].data(), gathered[rank].data(), count,
                                             DataType::kInt64));
        works.push_back(all[rank]->AllReduce(sums[rank].data(), sums[rank].data(), count,
                                             DataType::kInt64, Reduction::kSum));
        works.push_back(all[rank]->Barrier());
      }
      ASSERT_TRUE(world.RunUntilDone(works));
      ExpectAllOk(works);
      works.clear();
      for (int rank = 0; rank < size; ++rank) {
        works.push_back(
            all[rank]->Broadcast(copies[rank].data(), count, DataType::kInt64, size / 2));
      }
      ASSERT_TRUE(world.RunUntilDone(works));
      ExpectAllOk(works);
      for (int rank = 0; rank < size; ++rank) {
        for (size_t i = 0; i < count; ++i) {
          const int64_t element = static_cast<int64_t>(i);
          ASSERT_EQ(sums[rank][i], 500 * size * (size - 1) + size * element);
          ASSERT_EQ(copies[rank][i], size / 2 * 1000 + element);
          for (int peer = 0; peer < size; ++peer) {
            ASSERT_EQ(gathered[rank][peer * count + i], peer * 1000 + element);
          }
        }
      }
    }
  }
}

TEST(Communicator, AGatherGoesFromTheSendersToTheReceiversOnly) {
  SimulatedWorld world(4, 1);
  Communicators all = MakeAll(world, 1);
  const std::vector<int> senders = {2, 0}, receivers = {1, 2};
  for (size_t count : {1, 100, 100000}) {
    std::vector<std::vector<int64_t>> given(4), taken(4);
    std::vector<Work> works;
    for (int rank = 0; rank < 4; ++rank) {
      given[rank].assign(count, rank);
      taken[rank].assign(2 * count, -1);
      const bool receives = rank == 1 || rank == 2;
      works.push_back(all[rank]->Gather(rank % 2 == 0 ? given[rank].data() : nullptr,
                                        receives ? taken[rank].data() : nullptr, count,
                                        DataType::kInt64, senders, receivers));
    }
    ASSERT_TRUE(world.RunUntilDone(works));
    ExpectAllOk(works);
    std::vector<int64_t> expected(count, 2);
    expected.resize(2 * count, 0);
    for (int rank : receivers) EXPECT_EQ(taken[rank], expected);
  }
}

TEST(Communicator, AGatherOfOtherRanksIsAMismatch) {
  SimulatedWorld world(3, 1);
  Communicators all = MakeAll(world, 1);
  const std::vector<int> one = {0}, both = {0, 1}, receivers = {2};
  std::array<int64_t, 2> numbers = {};
  std::vector<Work> works;
  for (int rank = 0; rank < 3; ++rank) {
    works.push_back(all[rank]->Gather(numbers.data(), numbers.data(), 1, DataType::kInt64,
                                      rank == 0 ? one : both, receivers));
  }
  (void)world.RunUntilDone(works);
  EXPECT_EQ(works[2].Wait().code(), StatusCode::kMismatch) << works[2].Wait();
}

TEST(Communicator, AllReduceGivesTheSameBitsOnEveryRankAndInEveryRun) {
  for (int size : {2, 3, 5, 9}) {
    for (size_t count : {10, 5000, 100001}) {
      std::vector<float> first;
      for (uint64_t seed : {1, 2}) {  // another order of arrival
        SimulatedWorld world(size, seed);
        Communicators all = MakeAll(world, 1);
        SeededRandom data(99);
        std::vector<std::vector<float>> values(size);
        std::vector<Work> works;
        for (int rank = 0; rank < size; ++rank) {
          values[rank] = RandomFloats(count, data);
          works.push_back(all[rank]->AllReduce(values[rank].data(), values[rank].data(), count,
                                               DataType::kFloat32, Reduction::kAverage));
        }
        ASSERT_TRUE(world.RunUntilDone(works));
        ExpectAllOk(works);
        if (first.empty()) first = values[0];
        for (int rank = 0; rank < size; ++rank) EXPECT_TRUE(SameBits(values[rank], first));
      }
    }
  }
}

// The shards' contributions, added along the tree by plain code.
std::vector<float> TreeSum(const std::vector<std::vector<float>>& shards, ShardRun node) {
  if (node.length() == 1) return shards[node.begin];
  const auto [left, right] = ShardTree::Children(node);
  std::vector<float> sum = TreeSum(shards, left);
  const std::vector<float> other = TreeSum(shards, right);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  return sum;
}

TEST(AllReduceShards, BitsDontDependOnRanksNorOnWhoOwnsWhat) {
  SeededRandom random(5);
  for (int shard_count : {1, 5, 12}) {
    for (size_t count : {1, 1000, 40001}) {
      std::vector<std::vector<float>> shards;
      for (int shard = 0; shard < shard_count; ++shard) {
        shards.push_back(RandomFloats(count, random));
      }
      const ShardTree tree(shard_count);
      const std::vector<float> expected = TreeSum(shards, tree.root());
      for (int size = 1; size <= 13; ++size) {
        SCOPED_TRACE("n = " + std::to_string(size) + ", L = " + std::to_string(shard_count) +
                     ", count = " + std::to_string(count));
        std::vector<int> owners;
        for (int shard = 0; shard < shard_count; ++shard) {
          owners.push_back(static_cast<int>(random.Below(size)));
        }
        SimulatedWorld world(size, size);
        Communicators all = MakeAll(world, 1);
        std::vector<std::vector<float>> outputs(size, std::vector<float>(count));
        std::vector<std::vector<std::vector<float>>> inputs(size);
        std::vector<Work> works;
        for (int rank = 0; rank < size; ++rank) {
          std::vector<ShardContribution> contributions;
          for (ShardRun run : tree.MaximalNodesOf(owners, rank)) {
            if (run.length() > 1 && random.OneIn(2)) {  // not merged as far as possible
              const auto [left, right] = ShardTree::Children(run);
              contributions.push_back({left, nullptr});
              contributions.push_back({right, nullptr});
            } else {
              contributions.push_back({run, nullptr});
            }
          }
          for (ShardContribution& contribution : contributions) {
            inputs[rank].push_back(TreeSum(shards, contribution.run));
            contribution.data = inputs[rank].back().data();
          }
          works.push_back(all[rank]->AllReduceShards(contributions, owners, outputs[rank].data(),
                                                     count, DataType::kFloat32));
        }
        ASSERT_TRUE(world.RunUntilDone(works));
        ExpectAllOk(works);
        for (const auto& output : outputs) EXPECT_TRUE(SameBits(output, expected));
      }
    }
  }
}

TEST(AllReduceShards, RefusesRunsThatArentTheOwnersNodes) {
  SimulatedWorld world(1, 1);
  Communicators all = MakeAll(world, 1);
  float data = 1, output = 0;
  const std::vector<int> owners = {0, 0, 0, 0};
  const auto code = [&](std::vector<ShardContribution> contributions, std::vector<int> spread) {
    return all[0]
        ->AllReduceShards(contributions, spread, &output, 1, DataType::kFloat32)
        .Wait()
        .code();
  };
  EXPECT_EQ(code({{{1, 3}, &data}}, owners), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{0, 2}, &data}}, owners), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{2, 4}, &data}, {{0, 2}, &data}}, owners), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{0, 4}, &data}}, {0, 0, 0, 7}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{0, 4}, &data}}, owners), StatusCode::kOk);
}

TEST(Communicator, RefusesWhatCantBeSummed) {
  SimulatedWorld world(1, 1);
  Communicators all = MakeAll(world, 1);
  uint8_t byte = 0;
  int64_t number = 0;
  EXPECT_EQ(all[0]->AllReduce(&byte, &byte, 1, DataType::kUint8, Reduction::kSum).Wait().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(
      all[0]->AllReduce(&number, &number, 1, DataType::kInt64, Reduction::kAverage).Wait().code(),
      StatusCode::kInvalidArgument);
  EXPECT_EQ(all[0]->Broadcast(&byte, 1, DataType::kUint8, 1).Wait().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(all[0]->health().ok());
}

TEST(Works, ManyAreUnderWayAtOnceAndARankMayBeFarAhead) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const int size = 3;
    const size_t count = 5000;
    const int operations = 12;
    SimulatedWorld world(size, seed);
    Communicators all = MakeAll(world, 1);
    std::vector<std::vector<std::vector<double>>> values(size);
    for (auto& rank : values) rank.resize(operations);
    std::vector<Work> works;
    std::vector<int> begun(size, 0);
    while (begun != std::vector<int>(size, operations)) {
      const int rank = static_cast<int>(world.random().Below(size));
      if (begun[rank] == operations) continue;
      auto& buffer = values[rank][begun[rank]];
      buffer.assign(count, rank + begun[rank]);
      Work work;
      if (begun[rank] % 3 == 2) {
        work = all[rank]->Broadcast(buffer.data(), count, DataType::kFloat64, 1);
      } else {
        work = all[rank]->AllReduce(buffer.data(), buffer.data(), count, DataType::kFloat64,
                                    Reduction::kSum);
      }
      works.push_back(work);
      ++begun[rank];
      for (uint64_t polls = world.random().Below(20); polls > 0; --polls) world.PollOnce();
    }
    ASSERT_TRUE(world.RunUntilDone(works));
    ExpectAllOk(works);
    for (int rank = 0; rank < size; ++rank) {
      for (int i = 0; i < operations; ++i) {
        const double expected = i % 3 == 2 ? 1 + i : 3 * i + 3;
        EXPECT_EQ(values[rank][i], std::vector<double>(count, expected));
      }
    }
  }
}

TEST(Works, HeldBackMemoryIsBoundedHoweverFarARankIsAhead) {
  SimulatedWorld world(2, 1);
  Communicators all = MakeAll(world, 1);
  const size_t count = 4 << 20;  // bytes
  std::vector<std::vector<uint8_t>> buffers(4, std::vector<uint8_t>(count, 7));
  std::vector<Work> works;
  for (auto& buffer : buffers) {
    works.push_back(all[0]->Broadcast(buffer.data(), count, DataType::kUint8, 0));
  }
  while (world.PollOnce()) {
  }
  const uint64_t held = world.transport(1, 0)->counters().bytes_held;
  EXPECT_GT(held, 0u);
  EXPECT_LE(held, collectives::Engine::Options{}.eager_bytes);
  std::vector<std::vector<uint8_t>> copies(4, std::vector<uint8_t>(count));
  for (auto& copy : copies) {
    works.push_back(all[1]->Broadcast(copy.data(), count, DataType::kUint8, 0));
  }
  ASSERT_TRUE(world.RunUntilDone(works));
  ExpectAllOk(works);
  EXPECT_EQ(copies, buffers);
}

TEST(Mismatch, BothSidesNameBothCalls) {
  struct Case {
    const char* name;
    std::vector<std::string> words;
    Work (*call)(Communicator&, float*);
  };
  // Rank 0 calls an all-reduce of 100 float32, the others this:
  const Case cases[] = {
      {"count",
       {"all-reduce float32 x 99 sum"},
       [](Communicator& c, float* data) {
         return c.AllReduce(data, data, 99, DataType::kFloat32, Reduction::kSum);
       }},
      {"type",
       {"all-reduce bfloat16 x 100 sum"},
       [](Communicator& c, float* data) {
         return c.AllReduce(data, data, 100, DataType::kBFloat16, Reduction::kSum);
       }},
      {"reduction",
       {"all-reduce float32 x 100 average"},
       [](Communicator& c, float* data) {
         return c.AllReduce(data, data, 100, DataType::kFloat32, Reduction::kAverage);
       }},
      {"broadcast",
       {"broadcast float32 x 100 from rank 1"},
       [](Communicator& c, float* data) { return c.Broadcast(data, 100, DataType::kFloat32, 1); }},
      {"broadcast to",
       {"broadcast float32 x 100 from rank 0"},
       [](Communicator& c, float* data) { return c.Broadcast(data, 100, DataType::kFloat32, 0); }},
      {"barrier", {"called barrier"}, [](Communicator& c, float*) { return c.Barrier(); }},
      {"large",
       {"all-reduce float32 x 100000 sum"},
       [](Communicator& c, float* data) {
         return c.AllReduce(data, data, 100000, DataType::kFloat32, Reduction::kSum);
       }},
  };
  for (int size : {2, 3, 4}) {
    for (const Case& other : cases) {
      for (uint64_t seed = 1; seed <= 5; ++seed) {
        SCOPED_TRACE(std::string(other.name) + ", n = " + std::to_string(size));
        SimulatedWorld world(size, seed);
        Communicators all = MakeAll(world, 1);
        std::vector<std::vector<float>> data(size, std::vector<float>(100000));
        std::vector<Work> works;
        for (int rank = 0; rank < size; ++rank) {
          works.push_back(rank == 0 ? all[0]->AllReduce(data[0].data(), data[0].data(), 100,
                                                        DataType::kFloat32, Reduction::kSum)
                                    : other.call(*all[rank], data[rank].data()));
          if (seed % 2 == 1) {
            while (world.PollOnce()) {
            }
          }
        }
        ASSERT_TRUE(world.RunUntilDone(works));
        for (int rank = 0; rank < size; ++rank) {
          // Those who have nothing to do with rank 0 may be done before anyone finds out.
          while (world.PollOnce()) {
          }
          const Status ended = works[rank].Wait();
          const Status status = all[rank]->health();
          if (rank == 0 || size == 2 || !ended.ok()) {
            ASSERT_EQ(ended, status);
          }
          ASSERT_EQ(status.code(), StatusCode::kMismatch) << "rank " << rank << ": " << status;
          EXPECT_NE(status.message().find("rank 0 called all-reduce float32 x 100 sum"),
                    std::string::npos)
              << status;
          for (const std::string& words : other.words) {
            EXPECT_NE(status.message().find(words), std::string::npos) << status;
          }
          EXPECT_EQ(status.op_sequence(), 0u);
        }
        // And so it stays.
        EXPECT_EQ(all[0]->Barrier().Wait().code(), StatusCode::kMismatch);
      }
    }
  }
}

TEST(Mismatch, RootsThatBothOnlySendFindOut) {
  SimulatedWorld world(2, 1);
  Communicators all = MakeAll(world, 1);
  float data[2] = {1, 2};
  std::vector<Work> works;
  for (int rank : {0, 1}) {
    works.push_back(all[rank]->Broadcast(&data[rank], 1, DataType::kFloat32, rank));
  }
  ASSERT_TRUE(world.RunUntilDone(works));
  for (Work& work : works) EXPECT_EQ(work.Wait().code(), StatusCode::kMismatch);
}

TEST(Deadline, NamesTheOperationItsSequenceAndWhoWasWaitedFor) {
  SimulatedWorld world(3, 1);
  Communicators all = MakeAll(world, 1, std::chrono::seconds(2));
  std::vector<float> data(3);
  std::vector<Work> works;
  for (int rank = 0; rank < 3; ++rank) works.push_back(all[rank]->Barrier());
  ASSERT_TRUE(world.RunUntilDone(works));
  world.Stop(2);
  works.clear();
  for (int rank : {0, 1}) {
    works.push_back(
        all[rank]->AllReduce(&data[rank], &data[rank], 1, DataType::kFloat32, Reduction::kSum));
  }
  const TimePoint begun = world.clock().Now();
  ASSERT_TRUE(world.RunUntilDone(works, std::chrono::milliseconds(500)));
  EXPECT_LE(world.clock().Now() - begun, std::chrono::milliseconds(2600));
  for (Work& work : works) {
    const Status status = work.Wait();
    EXPECT_EQ(status.code(), StatusCode::kTimeout) << status;
    EXPECT_EQ(status.suspected_rank(), 2) << status;
    EXPECT_EQ(status.op_sequence(), 1u) << status;
    EXPECT_EQ(status.generation(), 1u) << status;
    EXPECT_NE(status.message().find("all-reduce float32 x 1 sum"), std::string::npos) << status;
    EXPECT_NE(status.message().find("for rank 2"), std::string::npos) << status;
  }
}

TEST(Deadline, LostMessageEndsInATimeout) {
  SimulatedWorld world(2, 3, {.lose_one_in = 2});
  Communicators all = MakeAll(world, 1);
  std::vector<Work> works;
  for (int i = 0; i < 10; ++i) {
    for (int rank : {0, 1}) works.push_back(all[rank]->Barrier());
  }
  ASSERT_TRUE(world.RunUntilDone(works));
  EXPECT_EQ(all[0]->health().code(), StatusCode::kTimeout);
  EXPECT_EQ(all[1]->health().code(), StatusCode::kTimeout);
}

TEST(Abort, DeadPeerIsNamedAndSurvivorsGoOnOnTheSameTransports) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const int size = 4;
    SimulatedWorld world(size, seed);
    Communicators all = MakeAll(world, 1);
    const size_t count = 100000;
    std::vector<std::vector<float>> data(size, std::vector<float>(count, 1));
    std::vector<Work> works;
    for (int rank = 0; rank < size; ++rank) {
      works.push_back(all[rank]->AllReduce(data[rank].data(), data[rank].data(), count,
                                           DataType::kFloat32, Reduction::kSum));
    }
    for (uint64_t polls = world.random().Below(8); polls > 0; --polls) world.PollOnce();
    const int victim = static_cast<int>(world.random().Below(size));
    world.Kill(victim);
    works.erase(works.begin() + victim);
    ASSERT_TRUE(world.RunUntilDone(works));
    std::vector<int> survivors;
    for (int rank = 0; rank < size; ++rank) {
      if (rank != victim) survivors.push_back(rank);
    }
    for (int i = 0; i < size - 1; ++i) {
      const Status status = works[i].Wait();
      // (It may have been done before.)
      if (!status.ok()) {
        EXPECT_EQ(status.code(), StatusCode::kPeerLost) << status;
        EXPECT_EQ(status.suspected_rank(), victim) << status;
      }
      while (world.lost(survivors[i]).empty() && world.PollOnce()) {
      }
      ASSERT_EQ(world.lost(survivors[i]).size(), 1u);
      EXPECT_EQ(world.lost(survivors[i])[0].member, victim);
    }
    // Ranks come over one after the other, with the others' stale messages still on the way.
    works.clear();
    Communicators next(size);
    std::vector<double> sums(size, 1);
    for (int rank : survivors) {
      next[rank] = world.MakeCommunicator(rank, 2, survivors);
      for (uint64_t polls = world.random().Below(5); polls > 0; --polls) world.PollOnce();
      works.push_back(
          next[rank]->AllReduce(&sums[rank], &sums[rank], 1, DataType::kFloat64, Reduction::kSum));
    }
    ASSERT_TRUE(world.RunUntilDone(works));
    ExpectAllOk(works);
    for (int rank : survivors) {
      EXPECT_EQ(sums[rank], size - 1);
      EXPECT_EQ(all[rank]->Barrier().Wait().code(), all[rank]->health().code());
      EXPECT_FALSE(all[rank]->health().ok());
    }
  }
}

TEST(Abort, EndsEverythingAtOnceAndANewGenerationWorksWhileStaleMessagesArrive) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const int size = 3;
    SimulatedWorld world(size, seed);
    Communicators all = MakeAll(world, 1);
    const size_t count = 50000;
    std::vector<std::vector<std::vector<float>>> data(size);
    std::vector<std::vector<Work>> works(size);
    Communicators next(size);
    std::vector<Work> later;
    std::vector<double> sums(size, 1);
    for (int rank = 0; rank < size; ++rank) {
      for (int i = 0; i < 3; ++i) {
        data[rank].emplace_back(count, 1);
        works[rank].push_back(all[rank]->AllReduce(data[rank][i].data(), data[rank][i].data(),
                                                   count, DataType::kFloat32, Reduction::kSum));
      }
      for (uint64_t polls = world.random().Below(6); polls > 0; --polls) world.PollOnce();
    }
    for (int rank = 0; rank < size; ++rank) {
      all[rank]->Abort(Aborted("on request"));
      for (Work& work : works[rank]) {
        ASSERT_TRUE(work.IsDone()) << "abort waits for nobody";
        const Status status = work.Wait();
        EXPECT_TRUE(status.ok() || status == Aborted("on request")) << status;
      }
      // From here on the buffers are the caller's again.
      for (auto& buffer : data[rank]) buffer.assign(count, -1);
      next[rank] = world.MakeCommunicator(rank, 2);
      later.push_back(
          next[rank]->AllReduce(&sums[rank], &sums[rank], 1, DataType::kFloat64, Reduction::kSum));
      for (uint64_t polls = world.random().Below(6); polls > 0; --polls) world.PollOnce();
    }
    ASSERT_TRUE(world.RunUntilDone(later));
    ExpectAllOk(later);
    EXPECT_EQ(sums, std::vector<double>(size, size));
    for (const auto& rank : data) {
      for (const auto& buffer : rank) EXPECT_EQ(buffer, std::vector<float>(count, -1));
    }
    EXPECT_EQ(all[0]->Barrier().Wait(), Aborted("on request"));
  }
}

TEST(Leaving, InGoodOrderHarmsNobodyWhoDoesntNeedTheLeaver) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const int size = 5;
    SimulatedWorld world(size, seed);
    Communicators all = MakeAll(world, 1);
    std::vector<Work> works;
    for (int rank = 0; rank < size; ++rank) works.push_back(all[rank]->Barrier());
    // Whoever is done leaves at once, while others are still in the barrier.
    std::vector<bool> left(size);
    while (left != std::vector<bool>(size, true)) {
      const bool moved = world.PollOnce();
      for (int rank = 0; rank < size; ++rank) {
        if (left[rank] || !works[rank].IsDone()) continue;
        EXPECT_TRUE(works[rank].Wait().ok()) << "rank " << rank << ": " << works[rank].Wait();
        all[rank].reset();
        world.engine(rank).PollOnce();  // what was said goes out
        world.Kill(rank);
        left[rank] = true;
      }
      ASSERT_TRUE(moved);
    }
  }
}

TEST(Leaving, WhatComesLaterFailsAndNamesTheLeaver) {
  SimulatedWorld world(2, 1);
  Communicators all = MakeAll(world, 1);
  all[1].reset();
  world.engine(1).PollOnce();
  world.Kill(1);
  while (world.PollOnce()) {
  }
  const Status status = all[0]->Barrier().Wait();
  EXPECT_EQ(status.code(), StatusCode::kPeerLost) << status;
  EXPECT_EQ(status.suspected_rank(), 1);
}

TEST(Abort, NewerGenerationEndsTheOlderOne) {
  SimulatedWorld world(2, 1);
  Communicators all = MakeAll(world, 1);
  Work work = all[0]->Barrier();
  auto next = world.MakeCommunicator(0, 2);
  ASSERT_TRUE(work.IsDone());
  EXPECT_EQ(work.Wait().code(), StatusCode::kStaleGeneration);
  EXPECT_EQ(all[0]->health().code(), StatusCode::kStaleGeneration);
}

TEST(Abort, DestroyingTheCommunicatorEndsItsWorks) {
  SimulatedWorld world(2, 1);
  Communicators all = MakeAll(world, 1);
  Work work = all[0]->Barrier();
  all[0].reset();
  ASSERT_TRUE(work.IsDone());
  EXPECT_EQ(work.Wait().code(), StatusCode::kAborted);
}

}  // namespace
}  // namespace closeranks
