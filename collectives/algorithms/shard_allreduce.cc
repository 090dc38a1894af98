#include "collectives/algorithms/shard_allreduce.h"

#include <map>
#include <vector>

#include "collectives/schedule/schedule_builder.h"
#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

using Values = std::map<ShardRun, Slice>;  // where the sum of a node is

class ShardAllReducePlan {
 public:
  ShardAllReducePlan(const Shape& shape, std::span<const int> owners,
                     std::span<const ShardRun> runs)
      : shape_(shape),
        tree_(static_cast<int>(owners.size())),
        runs_(runs),
        builder_(shape.rank, shape.size, /*in_place=*/false),
        results_(shape.size) {
    builder_.SetInputCount(runs.size());
    for (int rank = 0; rank < shape.size; ++rank) {
      nodes_.push_back(tree_.MaximalNodesOf(owners, rank));
    }
  }

  Schedule Build() && {
    // The first part is a longest one.
    const size_t chunks = ChunksOf(PartOf(shape_.count, shape_.size, 0), shape_.chunk);
    for (size_t k = 0; k < chunks; ++k) {
      scratch_used_ = 0;
      SendNodes(k);
      Combine(k);
      ExchangeResults(k);
    }
    return std::move(builder_).Build();
  }

 private:
  int PeerAt(int distance) const { return (shape_.rank + distance) % shape_.size; }
  ElementRange Piece(int owner, size_t k) const {
    return ChunkOf(PartOf(shape_.count, shape_.size, owner), shape_.chunk, k);
  }

  // Room for one chunk. Chunk k uses the room of chunk k - kShardWindow again: the builder sees to
  // it that it waits.
  Slice ChunkOfScratch(size_t k) {
    std::vector<Slice>& room = scratch_[k % kShardWindow];
    if (scratch_used_ == room.size()) room.push_back(builder_.AllocateScratch(shape_.chunk));
    return room[scratch_used_++];
  }

  // The sum of `node`, of values below it. `to` is where it has to be; without, it may be anywhere.
  Slice Evaluate(ShardRun node, const Values& values, size_t k, size_t count, const Slice* to) {
    if (auto it = values.find(node); it != values.end()) {
      if (to != nullptr) builder_.Copy(*to, it->second, count);
      return to != nullptr ? *to : it->second;
    }
    const auto [left, right] = ShardTree::Children(node);
    const Slice a = Evaluate(left, values, k, count, nullptr);
    const Slice b = Evaluate(right, values, k, count, nullptr);
    Slice sum;
    if (to != nullptr) {
      sum = *to;
    } else if (a.buffer == BufferName::kScratch) {
      sum = a;
    } else if (b.buffer == BufferName::kScratch) {
      sum = b;
    } else {
      sum = ChunkOfScratch(k);
    }
    builder_.Reduce(sum, a, b, count, to != nullptr ? Finish::kYes : Finish::kNo);
    return sum;
  }

  Values OwnInputs(ElementRange piece) const {
    Values values;
    for (size_t i = 0; i < runs_.size(); ++i) {
      values[runs_[i]] = Input(piece.begin, static_cast<uint16_t>(i));
    }
    return values;
  }

  void SendNodes(size_t k) {
    for (int distance = 1; distance < shape_.size; ++distance) {
      const int peer = PeerAt(distance);
      const ElementRange piece = Piece(peer, k);
      if (piece.count() == 0) continue;
      const Values inputs = OwnInputs(piece);
      for (ShardRun node : nodes_[shape_.rank]) {
        const auto sent =
            builder_.Send(peer, Evaluate(node, inputs, k, piece.count(), nullptr), piece.count());
        if (k >= kShardWindow) builder_.After(sent, results_[peer][k - kShardWindow]);
      }
    }
  }

  void Combine(size_t k) {
    const ElementRange piece = Piece(shape_.rank, k);
    if (piece.count() == 0) return;
    Values values = OwnInputs(piece);
    for (int distance = 1; distance < shape_.size; ++distance) {
      const int peer = PeerAt(distance);
      for (ShardRun node : nodes_[peer]) {
        values[node] = ChunkOfScratch(k);
        builder_.Recv(peer, values[node], piece.count());
      }
    }
    const Slice to = Output(piece.begin);
    Evaluate(tree_.root(), values, k, piece.count(), &to);
  }

  void ExchangeResults(size_t k) {
    const ElementRange mine = Piece(shape_.rank, k);
    for (int distance = 1; distance < shape_.size; ++distance) {
      builder_.Send(PeerAt(distance), Output(mine.begin), mine.count());
    }
    for (int distance = 1; distance < shape_.size; ++distance) {
      const int peer = PeerAt(distance);
      const ElementRange piece = Piece(peer, k);
      results_[peer].push_back(builder_.Recv(peer, Output(piece.begin), piece.count()));
    }
  }

  const Shape shape_;
  const ShardTree tree_;
  const std::span<const ShardRun> runs_;
  ScheduleBuilder builder_;
  std::vector<std::vector<ShardRun>> nodes_;  // for each rank
  // results_[p][k]: the step that receives the sum of chunk k of p's part.
  std::vector<std::vector<ScheduleBuilder::StepId>> results_;
  std::vector<Slice> scratch_[kShardWindow];
  size_t scratch_used_ = 0;  // of chunk k's room
};

}  // namespace

Schedule ShardAllReduce(const Shape& shape, std::span<const int> owners,
                        std::span<const ShardRun> runs) {
  CHECK(!shape.in_place && !owners.empty());
  return ShardAllReducePlan(shape, owners, runs).Build();
}

}  // namespace closeranks::collectives
