// Sums gradients over the ranks while backward is still computing the next ones.
#ifndef CLOSERANKS_DDP_REDUCER_H_
#define CLOSERANKS_DDP_REDUCER_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/member.h"
#include "base/status.h"
#include "collectives/communicator.h"
#include "collectives/work.h"
#include "ddp/bucket.h"
#include "ddp/gradient_hook.h"

namespace closeranks::ddp {

// The gradients of one model on one rank. A step goes like this:
//
//   reducer.BeginStep(step);
//   do {
//     reducer.BeginReduction(communicator, owners);
//     for (each part of the batch that is missing here) {
//       reducer.BeginPart(part, /*last=*/ the last of them);
//       loss.backward();
//       reducer.EndPart();
//     }
//     reducer.StartAll();
//     status = reducer.Finish();
//   } while (a new world was agreed on, with another communicator and owners);
//
// Local gradients are kept until the next BeginStep, and the reduction is out of place: when it
// fails, nothing is lost, and only the parts of the dead are computed again. The reduced gradients
// of a step stay as they are until the step after the next one begins its reduction, for a peer
// that lacks them.
//
// Fast mode (logical_shards == 0): the gradients of all parts add up, and the ranks' sums are
// added; the caller has scaled each part's loss by its share of the global batch. Exact mode: a
// part is one logical shard, and all shards are added in one fixed tree, so the sum has the same
// bits whichever rank computed which shard, in whatever order.
//
// During a part, .grad of every parameter is a view of local memory; after a Finish that is ok, a
// view of the reduced gradient; in between it may be anything. Who changes .grad in place after
// Finish (clipping does) changes what a peer that is behind would get, and should work on a copy.
//
// Every rank begins the reductions of its buckets in the same order. The caller may start
// operations of its own on the communicator before the last part and after StartAll, not in
// between.
//
// Memory: three times that of the parameters in fast mode; in exact mode twice, and once more for
// each node of the tree that is kept, of which there are at most 2 log2 L.
//
// Threads: one thread calls; the hooks run on autograd's. Gradients must be dense, on the CPU, of
// type float32, float64 or bfloat16. Calls in the wrong order throw c10::Error; everything that a
// peer or the network can cause is a Status.
class Reducer {
 public:
  struct Options {
    int64_t first_bucket_bytes = int64_t{1} << 20;
    int64_t bucket_bytes = int64_t{25} << 20;
    int logical_shards = 0;  // 0: fast mode
  };

  // The parameters that require a gradient are reduced, in the order given; on every rank the same,
  // with the same shapes and types (compare `fingerprint()`). Throws c10::Error for those it can't
  // handle.
  Reducer(std::vector<at::Tensor> parameters, Options options);
  // In the middle of a reduction it aborts the communicator.
  ~Reducer();
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;

  // Forgets the local gradients of the last step. Steps are numbered from 1.
  void BeginStep(StepNumber step);

  // By what to reduce, and (exact mode) `owners[s]`: the rank that has computed, or will compute,
  // shard s. Called again within a step, after Finish has failed, it makes all buckets be reduced
  // anew, from the local gradients that are there and those of further parts. What was computed
  // here stays here: a rank goes on owning the shards that it has.
  void BeginReduction(std::shared_ptr<Communicator> communicator, std::vector<int> owners = {});

  // The backward passes until EndPart belong to this part (exact mode: this logical shard).
  //
  // `last`: exactly one backward pass follows on this rank until Finish, so each bucket's reduction
  // may begin as soon as that pass has completed it. With several passes in the last part, say
  // false here and call ExpectLastPass before the last of them. Saying false throughout costs only
  // the overlap; saying true and making more passes is an error that Finish returns
  // (kInvalidArgument).
  void BeginPart(int part, bool last);
  void ExpectLastPass();
  // A parameter that no pass has reached counts as zero.
  void EndPart();

  // Starts the reductions that haven't begun (all of them on a rank without a part in this step).
  void StartAll();
  // Waits for all; calls StartAll if it wasn't. Ok: .grad of every parameter is the reduced
  // gradient. Otherwise how the first bucket failed; nothing is under way any more then, and the
  // next call is BeginReduction or BeginStep. kInvalidArgument also when this rank owns a shard
  // that it hasn't computed; its peers then wait for what it can't send, so abort the communicator.
  Status Finish();

  // For a rank that is behind: a peer sends `Reduced(step, k)` of every bucket, the other side
  // receives them into its own, then adopts them, and the optimizer goes on as after Finish. Bytes,
  // in memory that stays where it is for the life of the reducer.
  int bucket_count() const { return static_cast<int>(buckets_.size()); }
  std::span<std::byte> Reduced(StepNumber step, int bucket);
  DataType bucket_type(int bucket) const { return buckets_[bucket].type(); }
  // True if the reduced gradients of this step are whole and still there.
  bool HoldsReduced(StepNumber step) const { return step > 0 && reduced_step_[step % 2] == step; }
  // Makes .grad of every parameter a view of `Reduced(step, ...)`, which the caller has filled.
  void AdoptReduced(StepNumber step);

  // Equal where the parameters and the buckets are laid out alike.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  // Where a parameter is, and whether the last pass has reached it.
  struct Place {
    size_t bucket;
    size_t index;  // in the bucket
    bool arrived = false;
  };
  // How far a bucket is in this reduction.
  struct Progress {
    size_t missing = 0;  // parameters that the last pass hasn't reached
    bool complete = false;
  };

  void OnGradient(size_t parameter);
  void WaitForAll(Status& first_error);
  // These with mutex_ held:
  void Complete(size_t bucket);
  void SendCompleted();
  void Send(size_t bucket);

  const Options options_;
  std::vector<at::Tensor> parameters_;
  uint64_t fingerprint_ = 0;

  std::mutex mutex_;  // the hooks against one another and against the caller
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;                        // by parameter
  std::array<StepNumber, 2> reduced_step_ = {0, 0};  // whose gradients the reduced buffers hold
  StepNumber step_ = 0;
  Status late_gradient_;  // of this step: it misses one that came after the announced last pass

  std::shared_ptr<Communicator> communicator_;  // null: no reduction has begun
  std::vector<int> owners_;
  std::vector<Progress> progress_;  // by bucket
  size_t next_to_send_ = 0;
  std::vector<Work> works_;  // of the buckets before next_to_send_

  bool part_is_open_ = false;
  bool last_pass_ = false;

  // Last, so that no hook runs on a reducer that is half gone.
  std::unique_ptr<GradientHooks> hooks_;
};

}  // namespace closeranks::ddp

#endif  // CLOSERANKS_DDP_REDUCER_H_
