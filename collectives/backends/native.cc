#include "collectives/backends/native.h"

#include <utility>

#include "base/random.h"
#include "collectives/algorithms/binomial_broadcast.h"
#include "collectives/algorithms/direct_allgather.h"
#include "collectives/algorithms/direct_allreduce.h"
#include "collectives/algorithms/direct_gather.h"
#include "collectives/algorithms/dissemination_barrier.h"
#include "collectives/algorithms/ring_allreduce.h"
#include "collectives/algorithms/select.h"
#include "collectives/algorithms/shard_allreduce.h"

namespace closeranks::collectives {
namespace {

// A training loop has a few dozen buckets; whoever has more sizes than this pays for building
// schedules.
constexpr size_t kMaxSchedules = 128;

uint32_t HashOf(std::span<const int> ranks) {
  uint64_t hash = ranks.size();
  for (int rank : ranks) hash = MixBits(hash ^ static_cast<uint64_t>(rank)) + 1;
  return static_cast<uint32_t>(hash >> 32);
}

}  // namespace

Result<std::unique_ptr<NativeBackend>> NativeBackend::Make(Engine& engine, const GroupSpec& spec,
                                                           const NativeOptions& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<Group> group, engine.OpenGroup(spec));
  return std::unique_ptr<NativeBackend>(new NativeBackend(engine, std::move(group), options));
}

NativeBackend::~NativeBackend() { engine_.CloseGroup(group_); }

Shape NativeBackend::ShapeFor(size_t count, DataType type, size_t part_bytes, bool in_place) const {
  Shape shape;
  shape.rank = group_->rank();
  shape.size = group_->size();
  shape.count = count;
  shape.chunk = SelectChunk(part_bytes, SizeOf(type));
  shape.in_place = in_place;
  return shape;
}

template <typename MakeSchedule>
std::shared_ptr<const Schedule> NativeBackend::FindSchedule(ScheduleKey key, MakeSchedule make) {
  if (auto it = schedules_.find(key); it != schedules_.end()) return it->second;
  if (schedules_.size() >= kMaxSchedules) schedules_.clear();
  auto schedule = std::make_shared<const Schedule>(make());
  schedules_.emplace(std::move(key), schedule);
  return schedule;
}

Work NativeBackend::Submit(const Ticket& ticket, const Call& call,
                           std::shared_ptr<const Schedule> schedule,
                           std::vector<const void*> inputs, void* output) {
  OperationSpec spec;
  spec.call = call;
  spec.sequence = ticket.sequence;
  spec.deadline = ticket.deadline;
  spec.schedule = std::move(schedule);
  spec.inputs = std::move(inputs);
  spec.output = output;
  return engine_.Submit(group_, std::move(spec));
}

Work NativeBackend::AllReduce(const Ticket& ticket, const void* input, void* output, size_t count,
                              DataType type, Reduction reduction) {
  const size_t bytes = count * SizeOf(type);
  Call call;
  call.operation = OperationKind::kAllReduce;
  call.type = type;
  call.reduction = reduction;
  call.algorithm = options_.all_reduce.value_or(SelectAllReduce(group_->size(), bytes));
  call.count = count;
  const Fingerprint fingerprint = call.Encode();
  const bool in_place = input == output;
  auto schedule = FindSchedule({fingerprint[0], fingerprint[1], in_place}, [&] {
    Shape shape = ShapeFor(count, type, bytes / group_->size(), in_place);
    switch (call.algorithm) {
      case Algorithm::kRingAllReduce:
        return RingAllReduce(shape);
      case Algorithm::kDirectAllReduce:
        return DirectAllReduce(shape);
      default:
        return ExchangeAllReduce(shape);
    }
  });
  return Submit(ticket, call, std::move(schedule), {input}, output);
}

Work NativeBackend::AllReduceShards(const Ticket& ticket,
                                    std::span<const ShardContribution> contributions,
                                    std::span<const int> owners, void* output, size_t count,
                                    DataType type) {
  Call call;
  call.operation = OperationKind::kAllReduceShards;
  call.type = type;
  call.algorithm = Algorithm::kShardAllReduce;
  call.root = HashOf(owners);
  call.count = count;
  const Fingerprint fingerprint = call.Encode();
  ScheduleKey key{fingerprint[0], fingerprint[1], owners.size()};
  for (int owner : owners) key.push_back(static_cast<uint64_t>(owner));
  std::vector<ShardRun> runs;
  std::vector<const void*> inputs;
  for (const ShardContribution& contribution : contributions) {
    runs.push_back(contribution.run);
    inputs.push_back(contribution.data);
    key.push_back(static_cast<uint64_t>(contribution.run.begin) << 32 |
                  static_cast<uint32_t>(contribution.run.end));
  }
  auto schedule = FindSchedule(std::move(key), [&] {
    const size_t part_bytes = count * SizeOf(type) / group_->size();
    return ShardAllReduce(ShapeFor(count, type, part_bytes, false), owners, runs);
  });
  return Submit(ticket, call, std::move(schedule), std::move(inputs), output);
}

Work NativeBackend::Broadcast(const Ticket& ticket, void* buffer, size_t count, DataType type,
                              int root) {
  Call call;
  call.operation = OperationKind::kBroadcast;
  call.type = type;
  call.algorithm = Algorithm::kBinomialBroadcast;
  call.root = static_cast<uint32_t>(root);
  call.count = count;
  const Fingerprint fingerprint = call.Encode();
  auto schedule = FindSchedule({fingerprint[0], fingerprint[1]}, [&] {
    return BinomialBroadcast(ShapeFor(count, type, count * SizeOf(type), false), root);
  });
  return Submit(ticket, call, std::move(schedule), {}, buffer);
}

Work NativeBackend::AllGather(const Ticket& ticket, const void* input, void* output, size_t count,
                              DataType type) {
  Call call;
  call.operation = OperationKind::kAllGather;
  call.type = type;
  call.algorithm = Algorithm::kDirectAllGather;
  call.count = count;
  const Fingerprint fingerprint = call.Encode();
  auto schedule = FindSchedule({fingerprint[0], fingerprint[1]}, [&] {
    return DirectAllGather(ShapeFor(count, type, count * SizeOf(type), false));
  });
  return Submit(ticket, call, std::move(schedule), {input}, output);
}

Work NativeBackend::Gather(const Ticket& ticket, const void* input, void* output, size_t count,
                           DataType type, std::span<const int> senders,
                           std::span<const int> receivers) {
  std::vector<int> ranks(senders.begin(), senders.end());
  ranks.push_back(-1);  // between the two
  ranks.insert(ranks.end(), receivers.begin(), receivers.end());
  Call call;
  call.operation = OperationKind::kGather;
  call.type = type;
  call.algorithm = Algorithm::kDirectGather;
  call.root = HashOf(ranks);
  call.count = count;
  const Fingerprint fingerprint = call.Encode();
  ScheduleKey key{fingerprint[0], fingerprint[1]};
  for (int rank : ranks) key.push_back(static_cast<uint64_t>(rank));
  auto schedule = FindSchedule(std::move(key), [&] {
    return DirectGather(ShapeFor(count, type, count * SizeOf(type), false), senders, receivers);
  });
  return Submit(ticket, call, std::move(schedule), {input}, output);
}

Work NativeBackend::Barrier(const Ticket& ticket) {
  const Call call;
  const Fingerprint fingerprint = call.Encode();
  auto schedule = FindSchedule({fingerprint[0], fingerprint[1]}, [&] {
    return DisseminationBarrier(group_->rank(), group_->size());
  });
  return Submit(ticket, call, std::move(schedule), {}, nullptr);
}

}  // namespace closeranks::collectives
