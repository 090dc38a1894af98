#include "collectives/communicator.h"

#include <string>
#include <utility>
#include <vector>

#include "glog/logging.h"

namespace closeranks {
namespace {

// Whether `contributions` are nodes of the tree, ascending, and together exactly the shards of
// `rank`.
Status CheckContributions(std::span<const ShardContribution> contributions,
                          std::span<const int> owners, int rank, int size) {
  if (owners.empty()) return InvalidArgument("there are no shards");
  const ShardTree tree(static_cast<int>(owners.size()));
  std::vector<bool> given(owners.size());
  int end = 0;
  for (const ShardContribution& contribution : contributions) {
    const ShardRun run = contribution.run;
    const std::string name = std::to_string(run.begin) + "-" + std::to_string(run.end);
    if (!tree.IsNode(run)) {
      return InvalidArgument("the run of shards " + name + " isn't a node of the tree");
    }
    if (run.begin < end) return InvalidArgument("the run of shards " + name + " is out of order");
    end = run.end;
    for (int shard = run.begin; shard < run.end; ++shard) given[shard] = true;
  }
  for (size_t shard = 0; shard < owners.size(); ++shard) {
    if (owners[shard] < 0 || owners[shard] >= size) {
      return InvalidArgument("shard " + std::to_string(shard) + " belongs to rank " +
                             std::to_string(owners[shard]) + " of " + std::to_string(size));
    }
    if (given[shard] != (owners[shard] == rank)) {
      return InvalidArgument(
          "shard " + std::to_string(shard) +
          (given[shard] ? " is given by a rank that doesn't own it" : " isn't given by its owner"));
    }
  }
  return OkStatus();
}

// Whether each is a rank, and none stands there twice.
Status CheckRanks(std::span<const int> ranks, int size) {
  std::vector<bool> found(static_cast<size_t>(size));
  for (int rank : ranks) {
    if (rank < 0 || rank >= size || found[static_cast<size_t>(rank)]) {
      return InvalidArgument("there is no rank " + std::to_string(rank) + " of " +
                             std::to_string(size) + ", or it is given twice");
    }
    found[static_cast<size_t>(rank)] = true;
  }
  return OkStatus();
}

std::string NameOf(DataType type) { return std::string(DataTypeName(type)); }

}  // namespace

Communicator::Communicator(int rank, int size, Generation generation,
                           std::unique_ptr<collectives::Backend> backend, const Clock& clock,
                           Options options)
    : rank_(rank),
      size_(size),
      generation_(generation),
      backend_(std::move(backend)),
      clock_(clock),
      options_(options) {
  CHECK(rank_ >= 0 && rank_ < size_);
}

Communicator::~Communicator() = default;  // the backend's destructor aborts

collectives::Ticket Communicator::NextTicket() {
  return {next_sequence_++, clock_.Now() + options_.timeout};
}

Status Communicator::CheckReduction(DataType type, Reduction reduction) {
  if (type == DataType::kUint8) return InvalidArgument(NameOf(type) + " can't be summed");
  if (type == DataType::kInt64 && reduction == Reduction::kAverage) {
    return InvalidArgument(NameOf(type) + " has no average");
  }
  return OkStatus();
}

Work Communicator::AllReduce(const void* input, void* output, size_t count, DataType type,
                             Reduction reduction) {
  if (Status status = CheckReduction(type, reduction); !status.ok()) return Work::Ended(status);
  return backend_->AllReduce(NextTicket(), input, output, count, type, reduction);
}

Work Communicator::AllReduceShards(std::span<const ShardContribution> contributions,
                                   std::span<const int> owners, void* output, size_t count,
                                   DataType type) {
  Status status = CheckReduction(type, Reduction::kSum);
  if (status.ok()) status = CheckContributions(contributions, owners, rank_, size_);
  if (!status.ok()) return Work::Ended(status);
  return backend_->AllReduceShards(NextTicket(), contributions, owners, output, count, type);
}

Work Communicator::Broadcast(void* buffer, size_t count, DataType type, int root) {
  if (root < 0 || root >= size_) {
    return Work::Ended(InvalidArgument("there is no rank " + std::to_string(root) + " of " +
                                       std::to_string(size_)));
  }
  return backend_->Broadcast(NextTicket(), buffer, count, type, root);
}

Work Communicator::AllGather(const void* input, void* output, size_t count, DataType type) {
  return backend_->AllGather(NextTicket(), input, output, count, type);
}

Work Communicator::Gather(const void* input, void* output, size_t count, DataType type,
                          std::span<const int> senders, std::span<const int> receivers) {
  for (std::span<const int> ranks : {senders, receivers}) {
    if (Status status = CheckRanks(ranks, size_); !status.ok()) return Work::Ended(status);
  }
  return backend_->Gather(NextTicket(), input, output, count, type, senders, receivers);
}

Work Communicator::Barrier() { return backend_->Barrier(NextTicket()); }

void Communicator::Abort(Status why) { backend_->Abort(std::move(why)); }

Status Communicator::health() const { return backend_->health(); }

}  // namespace closeranks
