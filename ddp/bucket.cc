#include "ddp/bucket.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "collectives/algorithms/shard_tree.h"

namespace closeranks::ddp {
namespace {

DataType DataTypeOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DataType::kFloat32;
    case at::kDouble:
      return DataType::kFloat64;
    case at::kBFloat16:
      return DataType::kBFloat16;
    default:
      TORCH_CHECK(false, "gradients of type ", type,
                  " can't be reduced: use float32, float64 or bfloat16");
  }
}

}  // namespace

std::vector<BucketLayout> PlanBuckets(std::span<const at::Tensor> parameters,
                                      int64_t first_bucket_bytes, int64_t bucket_bytes) {
  // The bucket of each type that is being filled; closed ones are in `buckets`.
  std::map<at::ScalarType, BucketLayout> filling;
  std::map<at::ScalarType, int64_t> limit_bytes;
  std::vector<BucketLayout> buckets;
  for (size_t i = parameters.size(); i-- > 0;) {
    const at::Tensor& parameter = parameters[i];
    const at::ScalarType type = parameter.scalar_type();
    const int64_t element_bytes = static_cast<int64_t>(SizeOf(DataTypeOf(type)));
    BucketLayout& bucket = filling.try_emplace(type, BucketLayout{type, {}, {}, 0}).first->second;
    int64_t& limit = limit_bytes.try_emplace(type, first_bucket_bytes).first->second;
    bucket.parameters.push_back(i);
    bucket.offsets.push_back(bucket.elements);
    bucket.elements += parameter.numel();
    if (bucket.elements * element_bytes >= limit) {
      buckets.push_back(std::exchange(bucket, BucketLayout{type, {}, {}, 0}));
      limit = bucket_bytes;
    }
  }
  for (auto& [type, bucket] : filling) {
    if (!bucket.parameters.empty()) buckets.push_back(std::move(bucket));
  }
  // A bucket is complete with its foremost parameter.
  std::ranges::sort(buckets, std::ranges::greater(),
                    [](const BucketLayout& bucket) { return bucket.parameters.back(); });
  return buckets;
}

Bucket::Bucket(BucketLayout layout, std::span<const at::Tensor> parameters, int logical_shards)
    : layout_(std::move(layout)), type_(DataTypeOf(layout_.type)), logical_shards_(logical_shards) {
  for (size_t parameter : layout_.parameters) parameters_.push_back(parameters[parameter]);
  for (GradientBuffer& buffer : reduced_) buffer = Allocate();
  if (logical_shards_ == 0) sum_ = Allocate();
}

GradientBuffer Bucket::Allocate() const {
  GradientBuffer buffer;
  buffer.flat = at::empty({layout_.elements}, parameters_.front().options().requires_grad(false));
  buffer.flat.zero_();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i];
    // Autograd expects a gradient to lie as its parameter does; what has holes or overlaps gets the
    // plain order.
    const at::Tensor part = buffer.flat.narrow(0, layout_.offsets[i], parameter.numel());
    buffer.views.push_back(parameter.is_non_overlapping_and_dense()
                               ? part.as_strided(parameter.sizes(), parameter.strides())
                               : part.view(parameter.sizes()));
  }
  return buffer;
}

void Bucket::Forget() {
  open_.reset();
  if (logical_shards_ == 0) sum_.flat.zero_();
  for (auto& [run, buffer] : nodes_) spare_.push_back(std::move(buffer));
  nodes_.clear();
}

void Bucket::Open(int shard) {
  TORCH_INTERNAL_ASSERT(!open_, "the part before it is still open");
  if (logical_shards_ == 0) {
    open_ = {shard, sum_};
  } else {
    TORCH_INTERNAL_ASSERT(shard >= 0 && shard < logical_shards_, "there is no shard ", shard);
    for (const auto& [run, buffer] : nodes_) {
      TORCH_INTERNAL_ASSERT(shard < run.begin || shard >= run.end, "shard ", shard,
                            " is collected already");
    }
    if (spare_.empty()) {
      spare_.push_back(Allocate());
    } else {
      spare_.back().flat.zero_();
    }
    open_ = {shard, std::move(spare_.back())};
    spare_.pop_back();
  }
  PointGradientsAt(open_->buffer);
}

void Bucket::Keep(size_t i) {
  at::Tensor& gradient = parameters_[i].mutable_grad();
  const at::Tensor& view = open_->buffer.views[i];
  if (gradient.is_same(view)) return;
  if (gradient.defined()) {
    const bool holds_the_sum = at::GradMode::is_enabled();
    at::NoGradGuard no_grad;
    // A pass that creates a graph has added our view to its own gradient; otherwise somebody had
    // cleared .grad, and autograd began anew.
    if (holds_the_sum) {
      view.copy_(gradient);
    } else {
      view.add_(gradient);
    }
  }
  gradient = view;
}

void Bucket::Close() {
  TORCH_INTERNAL_ASSERT(open_);
  OpenPart part = std::move(*open_);
  open_.reset();
  if (logical_shards_ > 0) AddNode({part.shard, part.shard + 1}, std::move(part.buffer));
}

void Bucket::AddNode(ShardRun run, GradientBuffer buffer) {
  const ShardTree tree(logical_shards_);
  at::NoGradGuard no_grad;
  while (run != tree.root()) {
    const auto sibling = nodes_.find(*tree.Sibling(run));
    if (sibling == nodes_.end()) break;
    // Left plus right, whichever came first.
    if (sibling->first < run) std::swap(sibling->second, buffer);
    buffer.flat.add_(sibling->second.flat);
    spare_.push_back(std::move(sibling->second));
    nodes_.erase(sibling);
    run = *tree.Parent(run);
  }
  nodes_.emplace(run, std::move(buffer));
}

void Bucket::Detach() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
}

std::vector<ShardContribution> Bucket::Nodes() const {
  std::vector<ShardContribution> nodes;
  for (const auto& [run, buffer] : nodes_) nodes.push_back({run, buffer.flat.const_data_ptr()});
  return nodes;
}

void Bucket::AdoptReduced(StepNumber step) { PointGradientsAt(reduced(step)); }

void Bucket::PointGradientsAt(const GradientBuffer& buffer) {
  for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i].mutable_grad() = buffer.views[i];
}

}  // namespace closeranks::ddp
