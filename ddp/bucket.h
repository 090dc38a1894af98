// Gradients that travel together: where they lie in memory, and how those of several shards become
// one.
#ifndef CLOSERANKS_DDP_BUCKET_H_
#define CLOSERANKS_DDP_BUCKET_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "collectives/communicator.h"

namespace closeranks::ddp {

// Which parameters share a bucket, by their index, and where each one's gradient begins in it.
struct BucketLayout {
  at::ScalarType type;
  std::vector<size_t> parameters;
  std::vector<int64_t> offsets;  // in elements
  int64_t elements = 0;
};

// Fills buckets with parameters in reverse order, because backward gets to the last ones first. A
// bucket holds one type and is closed by the parameter with which it reaches its size, so a
// parameter is never divided. The first bucket of each type is kept small: it starts the reduction
// early. The buckets come in the order in which backward completes them, the same for the same
// parameters.
std::vector<BucketLayout> PlanBuckets(std::span<const at::Tensor> parameters,
                                      int64_t first_bucket_bytes, int64_t bucket_bytes);

// One contiguous piece of memory for all gradients of a bucket. `views[i]` has the shape, and where
// that is dense the strides, of the bucket's i-th parameter.
struct GradientBuffer {
  at::Tensor flat;
  std::vector<at::Tensor> views;
};

// One bucket of one rank: its local gradients and, for the last two steps, the reduced ones.
//
// Local gradients are collected in two ways. In fast mode all parts add up in one buffer. In exact
// mode each shard gets a buffer of its own, which becomes a leaf of the fixed tree over logical
// shards and is added to its sibling as soon as both are there, so that at most about 2 log2 L
// buffers are in use and no sum depends on the order in which the shards were computed.
//
// Not thread-safe. Memory is kept from step to step.
class Bucket {
 public:
  // `parameters` are all of the model's, of which the bucket keeps its own alive. `logical_shards`
  // is 0 in fast mode.
  Bucket(BucketLayout layout, std::span<const at::Tensor> parameters, int logical_shards);

  // Local gradients -------------------------------------------------------------------------------

  // Drops what was collected.
  void Forget();
  // The following gradients belong to `shard` (ignored in fast mode), and every parameter's .grad
  // is a view of where they are collected. The shard must not have been collected yet.
  void Open(int shard);
  // Makes sure that what autograd left in the .grad of the bucket's i-th parameter is in the open
  // buffer, also when somebody has replaced the view meanwhile.
  void Keep(size_t i);
  // What was opened is complete; in exact mode it takes its place in the tree.
  void Close();
  bool is_open() const { return open_.has_value(); }

  // Makes .grad of the bucket's parameters undefined: what autograd adds from now on is kept out of
  // memory that a reduction reads.
  void Detach();

  // Fast mode: the sum over the parts so far.
  const void* sum() const { return sum_.flat.const_data_ptr(); }
  // Exact mode: what is collected, as nodes of the fixed tree, by ascending shard. A node may be
  // the parent of others that were asked for: it is never taken apart again.
  std::vector<ShardContribution> Nodes() const;

  // Reduced gradients, of the even and of the odd steps -------------------------------------------

  GradientBuffer& reduced(StepNumber step) { return reduced_[step % 2]; }
  // Makes .grad of the bucket's parameters a view of `reduced(step)`.
  void AdoptReduced(StepNumber step);

  DataType type() const { return type_; }
  size_t elements() const { return static_cast<size_t>(layout_.elements); }
  size_t bytes() const { return elements() * SizeOf(type_); }
  const BucketLayout& layout() const { return layout_; }

 private:
  GradientBuffer Allocate() const;
  void PointGradientsAt(const GradientBuffer& buffer);
  void AddNode(ShardRun run, GradientBuffer buffer);

  const BucketLayout layout_;
  const DataType type_;
  const int logical_shards_;
  std::vector<at::Tensor> parameters_;  // the bucket's own, in its order

  struct OpenPart {
    int shard;
    GradientBuffer buffer;
  };
  std::optional<OpenPart> open_;
  GradientBuffer sum_;                        // fast mode
  std::map<ShardRun, GradientBuffer> nodes_;  // exact mode
  std::vector<GradientBuffer> spare_;         // exact mode: buffers to use again
  std::array<GradientBuffer, 2> reduced_;
};

}  // namespace closeranks::ddp

#endif  // CLOSERANKS_DDP_BUCKET_H_
