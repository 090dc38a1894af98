#include "elastic/toy_replica.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/hexadecimal.h"
#include "base/random.h"

namespace closeranks::elastic {
namespace {

constexpr size_t kWeights = 96;
// The reduction is in pieces, as that of a real model is.
constexpr size_t kBuckets = 3;
constexpr size_t kTensors = 6;

}  // namespace

ToyReplica::ToyReplica(uint64_t seed, int logical_shards)
    : logical_shards_(logical_shards), weights_(kWeights), sum_(kWeights) {
  SeededRandom random(seed);
  for (float& weight : weights_) weight = static_cast<float>(random.Below(1000));
  for (Gradients& reduced : reduced_) reduced.resize(kWeights);
}

double ToyReplica::Compute(StepNumber step, std::span<const int64_t> samples) {
  double loss = 0;
  for (int64_t id : samples) {
    uint64_t bits = MixBits(static_cast<uint64_t>(id) * 1000003 + step);
    for (float& gradient : *open_) {
      bits = MixBits(bits);
      float whole = static_cast<float>(static_cast<int64_t>(bits % 7) - 3);
      gradient += logical_shards_ > 0 ? whole / 7.0f : whole;
    }
    loss += static_cast<double>(id % 10);
    ++computed_;
  }
  return samples.empty() ? 0 : loss / static_cast<double>(samples.size());
}

void ToyReplica::BeginStep(StepNumber step) {
  step_ = step;
  local_.clear();
}

void ToyReplica::BeginReduction(std::shared_ptr<Communicator> communicator,
                                std::vector<int> shard_owners) {
  communicator_ = std::move(communicator);
  shard_owners_ = std::move(shard_owners);
}

void ToyReplica::BeginPart(StepNumber, const Part& part, bool) {
  open_ = &local_[part];
  open_->assign(kWeights, 0.0f);
}

void ToyReplica::EndPart() { open_ = nullptr; }

void ToyReplica::StartReduction() {
  Gradients& reduced = Reduced(step_);
  std::fill(sum_.begin(), sum_.end(), 0.0f);
  for (const auto& [part, gradients] : local_) {
    for (size_t i = 0; i < kWeights; ++i) sum_[i] += gradients[i];
  }
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    size_t begin = bucket * kWeights / kBuckets;
    size_t count = (bucket + 1) * kWeights / kBuckets - begin;
    if (logical_shards_ == 0) {
      works_.push_back(communicator_->AllReduce(sum_.data() + begin, reduced.data() + begin, count,
                                                DataType::kFloat32, Reduction::kSum));
      continue;
    }
    std::vector<ShardContribution> contributions;
    for (const auto& [part, gradients] : local_) {
      contributions.push_back({{part.shard, part.shard + 1}, gradients.data() + begin});
    }
    works_.push_back(communicator_->AllReduceShards(
        contributions, shard_owners_, reduced.data() + begin, count, DataType::kFloat32));
  }
}

Status ToyReplica::FinishReduction() {
  Status result;
  for (Work& work : works_) {
    Status status = work.Wait();
    if (result.ok()) result = status;
  }
  works_.clear();
  return result;
}

void ToyReplica::Apply(StepNumber step) {
  const Gradients& reduced = Reduced(step);
  // A step that is left out, repeated or out of order shows in the end, however many steps follow:
  // differences grow.
  for (size_t i = 0; i < kWeights; ++i) {
    weights_[i] = std::remainder(weights_[i] * 1.25f + reduced[i], 1024.0f);
  }
}

std::vector<Buffer> ToyReplica::ReducedGradients(StepNumber step) {
  return {{Reduced(step).data(), kWeights, DataType::kFloat32}};
}

std::vector<Piece> ToyReplica::Pieces() {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < kTensors; ++i) {
    const size_t bytes = kWeights / kTensors * sizeof(float);
    pieces.push_back({"weights." + std::to_string(i),
                      ElementType::kFloat32,
                      {kWeights / kTensors},
                      {reinterpret_cast<const char*>(weights_.data()) + i * bytes, bytes}});
  }
  return pieces;
}

Result<std::function<void()>> ToyReplica::PrepareLoad(std::span<const Piece> pieces) {
  std::string loaded;
  // Its own: what overrides it stands for sending.
  for (const Piece& own : ToyReplica::Pieces()) {
    ASSIGN_OR_RETURN(const Piece* piece, FindPiece(pieces, own));
    loaded += piece->bytes;
  }
  return std::function<void()>(
      [this, loaded] { std::memcpy(weights_.data(), loaded.data(), loaded.size()); });
}

uint64_t ToyReplica::WeightsHash() const {
  uint64_t hash = 0;
  for (float weight : weights_) hash = MixBits(hash ^ std::bit_cast<uint32_t>(weight));
  return hash;
}

std::string ToyReplica::Hash() const { return Hexadecimal(WeightsHash()); }

BatchSource::Batch ToyBatches::Get(StepNumber step) {
  int64_t steps_per_epoch = (samples_ + batch_ - 1) / batch_;
  int64_t epoch = static_cast<int64_t>(step - 1) / steps_per_epoch;
  int64_t begin = static_cast<int64_t>(step - 1) % steps_per_epoch * batch_;
  int64_t end = std::min(begin + batch_, samples_);
  ids_.clear();
  // Rotated by the epoch: a permutation, and another one each time.
  for (int64_t i = begin; i < end; ++i) ids_.push_back((i + epoch * 3) % samples_);
  return {static_cast<int>(epoch) + 1, ids_};
}

StepNumber ToyBatches::steps() const {
  return static_cast<StepNumber>((samples_ + batch_ - 1) / batch_ * epochs_);
}

Status RunToyTraining(StepLoop& loop, ToyReplica& replica) {
  while (true) {
    ASSIGN_OR_RETURN(bool more, loop.NextStep());
    if (!more) return loop.Finish();
    for (size_t i = 0; i < loop.todo().size(); ++i) {
      if (loop.todo()[i].size() > 0) loop.PreparePart(i);
      loop.BeginPart(i);
      double loss = replica.Compute(loop.step(), loop.SamplesOf(loop.todo()[i]));
      loop.EndPart(i, loss);
    }
    RETURN_IF_ERROR(loop.Commit().status());
  }
}

}  // namespace closeranks::elastic
