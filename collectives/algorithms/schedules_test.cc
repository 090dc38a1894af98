// Every algorithm, every number of ranks up to 33, odd sizes, on paper: each element of the output
// contains each input exactly once, by the same expression on every rank.
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "collectives/algorithms/binomial_broadcast.h"
#include "collectives/algorithms/direct_allgather.h"
#include "collectives/algorithms/direct_allreduce.h"
#include "collectives/algorithms/direct_gather.h"
#include "collectives/algorithms/dissemination_barrier.h"
#include "collectives/algorithms/ring_allreduce.h"
#include "collectives/algorithms/shard_allreduce.h"
#include "collectives/algorithms/shard_tree.h"
#include "collectives/schedule/symbolic_executor.h"
#include "gtest/gtest.h"

namespace closeranks::collectives {
namespace {

constexpr int kMaxSize = 33;

std::vector<Expressions::Id> Leaves(Expressions& expressions, int rank, int input, size_t count) {
  std::vector<Expressions::Id> leaves;
  for (size_t i = 0; i < count; ++i) leaves.push_back(expressions.Leaf(rank, input, i));
  return leaves;
}

// The ranks and inputs that a sum contains, as its text has them: "r0.i0[5]".
std::multiset<std::string> LeavesOf(const std::string& expression) {
  std::multiset<std::string> leaves;
  for (size_t at = expression.find('r'); at != std::string::npos;
       at = expression.find('r', at + 1)) {
    leaves.insert(expression.substr(at, expression.find(']', at) + 1 - at));
  }
  return leaves;
}

class Schedules : public testing::Test {
 protected:
  // Runs what `make` makes for each rank, with one input of `count` elements each.
  void RunAllReduce(const std::function<Schedule(const Shape&)>& make, int size, size_t count,
                    size_t chunk, bool in_place) {
    SCOPED_TRACE("n = " + std::to_string(size) + ", count = " + std::to_string(count) +
                 ", chunk = " + std::to_string(chunk) + (in_place ? ", in place" : ""));
    Expressions expressions;
    std::vector<Schedule> schedules;
    std::vector<SymbolicRank> ranks(size);
    for (int rank = 0; rank < size; ++rank) {
      schedules.push_back(make({rank, size, count, chunk, in_place}));
    }
    for (int rank = 0; rank < size; ++rank) {
      ranks[rank].schedule = &schedules[rank];
      ranks[rank].in_place = in_place;
      const auto leaves = Leaves(expressions, rank, 0, count);
      if (in_place) {
        ranks[rank].inputs.resize(1);
        ranks[rank].output = leaves;
      } else {
        ranks[rank].inputs = {leaves};
        ranks[rank].output.assign(count, Expressions::kUnset);
      }
    }
    const Status status = RunSymbolically(ranks, expressions, random_);
    ASSERT_TRUE(status.ok()) << status;
    for (size_t i = 0; i < count; ++i) {
      for (int rank = 1; rank < size; ++rank) {
        ASSERT_EQ(ranks[rank].output[i], ranks[0].output[i])
            << "rank " << rank << " computes element " << i << " as "
            << expressions.ToString(ranks[rank].output[i]) << ", rank 0 as "
            << expressions.ToString(ranks[0].output[i]);
      }
      const std::string text = expressions.ToString(ranks[0].output[i]);
      std::multiset<std::string> expected;
      for (int rank = 0; rank < size; ++rank) {
        expected.insert(expressions.ToString(expressions.Leaf(rank, 0, i)));
      }
      ASSERT_EQ(LeavesOf(text), expected) << text;
      if (size == 1) continue;
      // Finished once, at the very end.
      ASSERT_EQ(std::count(text.begin(), text.end(), '!'), 1) << text;
      ASSERT_EQ(text.back(), '!') << text;
    }
  }

  void RunAllReduceEverywhere(const std::function<Schedule(const Shape&)>& make, size_t chunk) {
    for (int size = 1; size <= kMaxSize; ++size) {
      for (size_t count : {0, 1, 3, 32, 67}) {
        for (bool in_place : {false, true}) {
          RunAllReduce(make, size, count, count < 32 ? 1 : chunk, in_place);
          if (HasFatalFailure()) return;
        }
      }
    }
    // Many chunks, so that windows come into play.
    for (int size : {2, 3, 4, 5}) RunAllReduce(make, size, 201, 3, false);
    for (int size : {2, 3, 4, 5}) RunAllReduce(make, size, 201, 3, true);
  }

  SeededRandom random_{20};
};

TEST_F(Schedules, RingAllReduceSumsEachInputOnce) { RunAllReduceEverywhere(RingAllReduce, 2); }

TEST_F(Schedules, DirectAllReduceSumsEachInputOnce) { RunAllReduceEverywhere(DirectAllReduce, 2); }

TEST_F(Schedules, ExchangeAllReduceSumsEachInputOnce) {
  RunAllReduceEverywhere(ExchangeAllReduce, 20);
}

TEST_F(Schedules, BroadcastGivesEveryoneTheRootsBuffer) {
  for (int size = 1; size <= kMaxSize; ++size) {
    for (int root = 0; root < size; root += (size > 8 ? 5 : 1)) {
      for (size_t count : {0, 1, 7}) {
        SCOPED_TRACE("n = " + std::to_string(size) + ", root = " + std::to_string(root));
        Expressions expressions;
        std::vector<Schedule> schedules;
        std::vector<SymbolicRank> ranks(size);
        for (int rank = 0; rank < size; ++rank) {
          schedules.push_back(BinomialBroadcast({rank, size, count, 2, false}, root));
        }
        const auto leaves = Leaves(expressions, root, 0, count);
        for (int rank = 0; rank < size; ++rank) {
          ranks[rank].schedule = &schedules[rank];
          ranks[rank].output =
              rank == root ? leaves : std::vector<Expressions::Id>(count, Expressions::kUnset);
        }
        const Status status = RunSymbolically(ranks, expressions, random_);
        ASSERT_TRUE(status.ok()) << status;
        for (const SymbolicRank& rank : ranks) ASSERT_EQ(rank.output, leaves);
      }
    }
  }
}

TEST_F(Schedules, AllGatherGivesEveryoneAllInputsInOrder) {
  for (int size = 1; size <= kMaxSize; ++size) {
    for (size_t count : {0, 1, 7}) {
      SCOPED_TRACE("n = " + std::to_string(size) + ", count = " + std::to_string(count));
      Expressions expressions;
      std::vector<Schedule> schedules;
      std::vector<SymbolicRank> ranks(size);
      std::vector<Expressions::Id> expected;
      for (int rank = 0; rank < size; ++rank) {
        schedules.push_back(DirectAllGather({rank, size, count, 2, false}));
      }
      for (int rank = 0; rank < size; ++rank) {
        const auto leaves = Leaves(expressions, rank, 0, count);
        expected.insert(expected.end(), leaves.begin(), leaves.end());
        ranks[rank].schedule = &schedules[rank];
        ranks[rank].inputs = {leaves};
        ranks[rank].output.assign(count * size, Expressions::kUnset);
      }
      const Status status = RunSymbolically(ranks, expressions, random_);
      ASSERT_TRUE(status.ok()) << status;
      for (const SymbolicRank& rank : ranks) ASSERT_EQ(rank.output, expected);
    }
  }
}

TEST_F(Schedules, GatherGivesEachReceiverTheSendersInputsInTheirOrder) {
  for (int size = 1; size <= kMaxSize; ++size) {
    for (size_t count : {0, 1, 7}) {
      SCOPED_TRACE("n = " + std::to_string(size) + ", count = " + std::to_string(count));
      std::vector<int> senders, receivers;
      for (int rank = size; rank-- > 0;) {
        // Some are both, some are neither.
        if (rank % 3 != 1) senders.push_back(rank);
        if (rank % 4 == 1 || rank == 0) receivers.push_back(rank);
      }
      Expressions expressions;
      std::vector<Schedule> schedules;
      std::vector<SymbolicRank> ranks(size);
      for (int rank = 0; rank < size; ++rank) {
        schedules.push_back(DirectGather({rank, size, count, 2, false}, senders, receivers));
      }
      std::vector<std::vector<Expressions::Id>> inputs;
      for (int rank = 0; rank < size; ++rank) {
        inputs.push_back(Leaves(expressions, rank, 0, count));
        ranks[rank].schedule = &schedules[rank];
        ranks[rank].inputs = {inputs.back()};
        ranks[rank].output.assign(count * senders.size(), Expressions::kUnset);
      }
      std::vector<Expressions::Id> expected;
      for (int rank : senders) {
        expected.insert(expected.end(), inputs[rank].begin(), inputs[rank].end());
      }
      const std::vector<Expressions::Id> nothing(expected.size(), Expressions::kUnset);
      const Status status = RunSymbolically(ranks, expressions, random_);
      ASSERT_TRUE(status.ok()) << status;
      for (int rank = 0; rank < size; ++rank) {
        const bool receives =
            std::find(receivers.begin(), receivers.end(), rank) != receivers.end();
        ASSERT_EQ(ranks[rank].output, receives ? expected : nothing) << "rank " << rank;
      }
    }
  }
}

TEST_F(Schedules, BarrierEndsOnlyWhenEveryoneHasCome) {
  for (int size = 1; size <= kMaxSize; ++size) {
    SCOPED_TRACE("n = " + std::to_string(size));
    std::vector<Schedule> schedules;
    for (int rank = 0; rank < size; ++rank) schedules.push_back(DisseminationBarrier(rank, size));
    // Who has heard of whom, round by round: a round's messages tell what was known before it.
    std::vector<std::set<int>> knows(size);
    for (int rank = 0; rank < size; ++rank) knows[rank] = {rank};
    for (size_t step = 0; step < schedules[0].steps.size(); step += 2) {
      std::vector<std::set<int>> after = knows;
      for (int rank = 0; rank < size; ++rank) {
        const Step& send = schedules[rank].steps[step];
        ASSERT_EQ(send.kind, StepKind::kSend);
        // It waits for the receive of the round before, so it tells what that brought.
        if (step > 0) {
          const auto dependents = schedules[rank].DependentsOf(step - 1);
          ASSERT_NE(std::find(dependents.begin(), dependents.end(), step), dependents.end());
        }
        after[send.peer].insert(knows[rank].begin(), knows[rank].end());
      }
      knows = after;
    }
    for (const std::set<int>& known : knows) ASSERT_EQ(known.size(), static_cast<size_t>(size));
    Expressions expressions;
    std::vector<SymbolicRank> ranks(size);
    for (int rank = 0; rank < size; ++rank) ranks[rank].schedule = &schedules[rank];
    const Status status = RunSymbolically(ranks, expressions, random_);
    ASSERT_TRUE(status.ok()) << status;
  }
}

// The expression of a node, of leaves (shard, element), written down independently of the schedule.
// As every rank may hold partial sums, a shard's leaf is named by its number alone.
Expressions::Id TreeSum(Expressions& expressions, ShardRun node, size_t element) {
  if (node.length() == 1) return expressions.Leaf(node.begin, 0, element);
  const auto [left, right] = ShardTree::Children(node);
  const Expressions::Id a = TreeSum(expressions, left, element);
  const Expressions::Id b = TreeSum(expressions, right, element);
  return expressions.Sum(a, b);
}

class ShardSchedules : public Schedules {
 protected:
  // `merged`: the ranks' inputs are maximal nodes; else they are single shards and nodes mixed.
  void Run(const std::vector<int>& owners, int size, size_t count, size_t chunk, bool merged) {
    std::string spread;
    for (int owner : owners) spread += std::to_string(owner) + " ";
    SCOPED_TRACE("n = " + std::to_string(size) + ", count = " + std::to_string(count) +
                 ", owners " + spread);
    const ShardTree tree(static_cast<int>(owners.size()));
    Expressions expressions;
    std::vector<Schedule> schedules;
    std::vector<SymbolicRank> ranks(size);
    for (int rank = 0; rank < size; ++rank) {
      std::vector<ShardRun> runs;
      for (ShardRun node : tree.MaximalNodesOf(owners, rank)) {
        AppendRuns(node, merged, &runs);
      }
      for (ShardRun run : runs) {
        std::vector<Expressions::Id> input;
        for (size_t i = 0; i < count; ++i) input.push_back(TreeSum(expressions, run, i));
        ranks[rank].inputs.push_back(input);
      }
      ranks[rank].output.assign(count, Expressions::kUnset);
      schedules.push_back(ShardAllReduce({rank, size, count, chunk, false}, owners, runs));
    }
    for (int rank = 0; rank < size; ++rank) ranks[rank].schedule = &schedules[rank];
    const Status status = RunSymbolically(ranks, expressions, random_);
    ASSERT_TRUE(status.ok()) << status;
    for (size_t i = 0; i < count; ++i) {
      const std::string expected = expressions.ToString(TreeSum(expressions, tree.root(), i));
      for (const SymbolicRank& rank : ranks) {
        std::string text = expressions.ToString(rank.output[i]);
        if (!text.empty() && text.back() == '!') text.pop_back();
        ASSERT_EQ(text, expected);
      }
    }
  }

  void AppendRuns(ShardRun node, bool merged, std::vector<ShardRun>* runs) {
    if (merged || node.length() == 1 || random_.OneIn(3)) {
      runs->push_back(node);
      return;
    }
    const auto [left, right] = ShardTree::Children(node);
    AppendRuns(left, merged, runs);
    AppendRuns(right, merged, runs);
  }
};

TEST_F(ShardSchedules, AddAlongTheFixedTreeHoweverShardsAreSpread) {
  for (int size = 1; size <= kMaxSize; ++size) {
    for (int shards : {1, 3, 12, 16}) {
      std::vector<int> contiguous, random_spread;
      for (int shard = 0; shard < shards; ++shard) {
        contiguous.push_back(shard * size / shards);
        random_spread.push_back(static_cast<int>(random_.Below(size)));
      }
      for (size_t count : {0, 1, 35}) {
        const bool merged = (size + static_cast<int>(count)) % 2 == 0;
        Run(contiguous, size, count, 2, !merged);
        Run(random_spread, size, count, 2, merged);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(ShardSchedules, WorkInManyChunks) {
  for (int size : {1, 2, 3, 5}) {
    std::vector<int> owners;
    for (int shard = 0; shard < 12; ++shard)
      owners.push_back(static_cast<int>(random_.Below(size)));
    Run(owners, size, 157, 3, true);
    Run(owners, size, 157, 3, false);
    Run(std::vector<int>(12, size - 1), size, 157, 3, true);  // one rank owns all
  }
}

}  // namespace
}  // namespace closeranks::collectives
