#include "ddp/in_process_ranks.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "collectives/algorithms/shard_tree.h"
#include "collectives/backends/backend.h"
#include "glog/logging.h"

namespace closeranks::ddp {

// Where the ranks come together for each operation.
class InProcessRanks::Meeting : public std::enable_shared_from_this<Meeting> {
 public:
  using Nodes = std::map<ShardRun, const void*>;

  explicit Meeting(int size) : size_(size) {}

  // One rank's part in operation `sequence`: its inputs as nodes of the tree over `shards`.
  Work Join(uint64_t sequence, const Nodes& inputs, int shards, void* output, size_t count,
            DataType type) {
    std::lock_guard lock(mutex_);
    Operation& operation = operations_[sequence];
    CHECK(operation.outputs.empty() || operation.count == count) << "the ranks are out of step";
    operation.count = count;
    operation.inputs.insert(inputs.begin(), inputs.end());
    operation.outputs.push_back(output);
    if (static_cast<int>(operation.outputs.size()) == size_ && health_.ok()) {
      if (type == DataType::kFloat32) {
        SumAll<float>(operation, shards);
      } else {
        CHECK(type == DataType::kFloat64);
        SumAll<double>(operation, shards);
      }
      operation.done = true;
      changed_.notify_all();
    }
    return Work(std::make_shared<Joined>(shared_from_this(), sequence));
  }

  Status Wait(uint64_t sequence) {
    std::unique_lock lock(mutex_);
    const Operation& operation = operations_[sequence];
    changed_.wait(lock, [&] { return operation.done || !health_.ok(); });
    return operation.done ? OkStatus() : health_;
  }
  bool IsDone(uint64_t sequence) {
    std::lock_guard lock(mutex_);
    return operations_[sequence].done || !health_.ok();
  }
  void Abort(Status why) {
    std::lock_guard lock(mutex_);
    if (health_.ok()) health_ = std::move(why);
    changed_.notify_all();
  }
  Status health() {
    std::lock_guard lock(mutex_);
    return health_;
  }
  int operations_begun() {
    std::lock_guard lock(mutex_);
    return static_cast<int>(operations_.size());
  }

 private:
  struct Operation {
    Nodes inputs;
    std::vector<void*> outputs;
    size_t count = 0;
    bool done = false;
  };
  struct Joined final : Work::State {
    Joined(std::shared_ptr<Meeting> meeting, uint64_t sequence)
        : meeting(std::move(meeting)), sequence(sequence) {}
    Status Wait() override { return meeting->Wait(sequence); }
    bool IsDone() const override { return meeting->IsDone(sequence); }
    const std::shared_ptr<Meeting> meeting;
    const uint64_t sequence;
  };

  template <typename T>
  static void SumAll(const Operation& operation, int shards) {
    std::vector<T> sum(operation.count);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = Sum<T>(operation.inputs, {0, shards}, i);
    for (void* to : operation.outputs) std::ranges::copy(sum, static_cast<T*>(to));
  }

  template <typename T>
  static T Sum(const Nodes& nodes, ShardRun run, size_t i) {
    if (const auto node = nodes.find(run); node != nodes.end()) {
      return static_cast<const T*>(node->second)[i];
    }
    CHECK_GT(run.length(), 1) << "nobody contributed shard " << run.begin;
    const auto [left, right] = ShardTree::Children(run);
    return Sum<T>(nodes, left, i) + Sum<T>(nodes, right, i);
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Operation> operations_;  // by op sequence
  Status health_;
};

class InProcessRanks::RankBackend final : public collectives::Backend {
 public:
  RankBackend(std::shared_ptr<Meeting> meeting, int rank, int size)
      : meeting_(std::move(meeting)), rank_(rank), size_(size) {}

  std::string_view name() const override { return "in-process"; }

  Work AllReduce(const collectives::Ticket& ticket, const void* input, void* output, size_t count,
                 DataType type, Reduction reduction) override {
    CHECK(reduction == Reduction::kSum);
    const Meeting::Nodes mine = {{{rank_, rank_ + 1}, input}};
    return meeting_->Join(ticket.sequence, mine, size_, output, count, type);
  }
  Work AllReduceShards(const collectives::Ticket& ticket,
                       std::span<const ShardContribution> contributions,
                       std::span<const int> owners, void* output, size_t count,
                       DataType type) override {
    Meeting::Nodes mine;
    for (const ShardContribution& contribution : contributions) {
      mine.emplace(contribution.run, contribution.data);
    }
    return meeting_->Join(ticket.sequence, mine, static_cast<int>(owners.size()), output, count,
                          type);
  }
  Work Broadcast(const collectives::Ticket&, void*, size_t, DataType, int) override {
    return Refuse();
  }
  Work AllGather(const collectives::Ticket&, const void*, void*, size_t, DataType) override {
    return Refuse();
  }
  Work Gather(const collectives::Ticket&, const void*, void*, size_t, DataType,
              std::span<const int>, std::span<const int>) override {
    return Refuse();
  }
  Work Barrier(const collectives::Ticket&) override { return Refuse(); }
  void Abort(Status why) override { meeting_->Abort(std::move(why)); }
  Status health() const override { return meeting_->health(); }

 private:
  static Work Refuse() { return Work::Ended(Internal("gradients don't need this operation")); }

  const std::shared_ptr<Meeting> meeting_;
  const int rank_;
  const int size_;
};

// A communicator and what has to live as long.
struct InProcessRanks::Rank {
  Rank(std::shared_ptr<Meeting> meeting, int rank, int size)
      : communicator(rank, size, Generation{1},
                     std::make_unique<RankBackend>(std::move(meeting), rank, size), clock,
                     Communicator::Options()) {}
  SystemClock clock;
  Communicator communicator;
};

InProcessRanks::InProcessRanks(int size) : meeting_(std::make_shared<Meeting>(size)) {
  for (int i = 0; i < size; ++i) {
    const auto rank = std::make_shared<Rank>(meeting_, i, size);
    communicators_.emplace_back(rank, &rank->communicator);
  }
}

int InProcessRanks::operations_begun() const { return meeting_->operations_begun(); }

}  // namespace closeranks::ddp
