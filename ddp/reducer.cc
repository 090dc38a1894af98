#include "ddp/reducer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/random.h"

namespace closeranks::ddp {
namespace {

std::vector<at::Tensor> ThoseThatRequireGradients(std::vector<at::Tensor> parameters) {
  std::erase_if(parameters, [](const at::Tensor& parameter) { return !parameter.requires_grad(); });
  for (const at::Tensor& parameter : parameters) {
    TORCH_CHECK(parameter.device().is_cpu() && parameter.layout() == at::kStrided,
                "only dense parameters on the CPU can be reduced, not one on ", parameter.device(),
                " of layout ", parameter.layout());
  }
  return parameters;
}

uint64_t Fingerprint(const std::vector<at::Tensor>& parameters,
                     const std::vector<Bucket>& buckets) {
  uint64_t hash = 0;
  const auto add = [&hash](int64_t word) { hash = MixBits(hash + MixBits(word)); };
  for (const at::Tensor& parameter : parameters) {
    add(static_cast<int64_t>(parameter.scalar_type()));
    add(parameter.dim());
    for (int64_t size : parameter.sizes()) add(size);
    for (int64_t stride : parameter.strides()) add(stride);
  }
  for (const Bucket& bucket : buckets) {
    for (size_t parameter : bucket.layout().parameters) add(static_cast<int64_t>(parameter));
    add(-1);  // where a bucket ends
  }
  return hash;
}

std::string ShapeOf(const at::Tensor& tensor) {
  std::string shape = "[";
  for (int64_t size : tensor.sizes()) {
    if (shape.size() > 1) shape += ", ";
    shape += std::to_string(size);
  }
  return shape + "]";
}

}  // namespace

Reducer::Reducer(std::vector<at::Tensor> parameters, Options options)
    : options_(options), parameters_(ThoseThatRequireGradients(std::move(parameters))) {
  TORCH_CHECK(
      options_.logical_shards >= 0 && options_.bucket_bytes > 0 && options_.first_bucket_bytes > 0,
      "bucket sizes must be positive, and logical_shards at least 0");
  places_.resize(parameters_.size());
  for (BucketLayout& layout :
       PlanBuckets(parameters_, options_.first_bucket_bytes, options_.bucket_bytes)) {
    for (size_t i = 0; i < layout.parameters.size(); ++i) {
      places_[layout.parameters[i]] = {buckets_.size(), i};
    }
    buckets_.emplace_back(std::move(layout), parameters_, options_.logical_shards);
  }
  progress_.resize(buckets_.size());
  fingerprint_ = Fingerprint(parameters_, buckets_);
  hooks_ = std::make_unique<GradientHooks>(parameters_,
                                           [this](size_t parameter) { OnGradient(parameter); });
}

Reducer::~Reducer() {
  hooks_.reset();
  // Peers would wait for buckets that never come, and we for them.
  if (!works_.empty()) communicator_->Abort(Aborted("the reducer is gone in the middle of a step"));
  Status ignored;
  WaitForAll(ignored);
}

void Reducer::BeginStep(StepNumber step) {
  std::lock_guard lock(mutex_);
  TORCH_CHECK(!part_is_open_ && works_.empty(), "a step can't begin before the last one's Finish");
  TORCH_CHECK(step > 0, "steps are numbered from 1");
  step_ = step;
  late_gradient_ = OkStatus();
  communicator_.reset();
  for (Bucket& bucket : buckets_) bucket.Forget();
}

void Reducer::BeginReduction(std::shared_ptr<Communicator> communicator, std::vector<int> owners) {
  std::lock_guard lock(mutex_);
  TORCH_CHECK(step_ > 0 && !part_is_open_ && works_.empty(),
              "a reduction begins between BeginStep and BeginPart, or after Finish");
  TORCH_CHECK(communicator != nullptr);
  TORCH_CHECK(
      options_.logical_shards == 0 || owners.size() == static_cast<size_t>(options_.logical_shards),
      "each of the ", options_.logical_shards, " logical shards needs one owner, not ",
      owners.size());
  communicator_ = std::move(communicator);
  owners_ = std::move(owners);
  progress_.assign(buckets_.size(), Progress{});
  next_to_send_ = 0;
  reduced_step_[step_ % 2] = 0;
}

void Reducer::BeginPart(int part, bool last) {
  {
    std::lock_guard lock(mutex_);
    TORCH_CHECK(step_ > 0 && !part_is_open_, "a part begins within a step, after EndPart");
    // What was sent is being read by the reduction.
    TORCH_CHECK(next_to_send_ == 0 || communicator_ == nullptr,
                "after the last part comes Finish, then BeginReduction, then further parts");
    for (Bucket& bucket : buckets_) bucket.Open(part);
    part_is_open_ = true;
    last_pass_ = false;
  }
  if (last) ExpectLastPass();
}

void Reducer::ExpectLastPass() {
  std::lock_guard lock(mutex_);
  TORCH_CHECK(part_is_open_, "a pass belongs to a part");
  last_pass_ = true;
  for (Place& place : places_) place.arrived = false;
  for (size_t b = 0; b < buckets_.size(); ++b) {
    progress_[b] = Progress{.missing = buckets_[b].layout().parameters.size()};
  }
}

void Reducer::OnGradient(size_t parameter) {
  std::lock_guard lock(mutex_);
  if (!part_is_open_) return;  // a pass of the caller's own
  Place& place = places_[parameter];
  Progress& progress = progress_[place.bucket];
  if (last_pass_ && progress.complete) {
    if (late_gradient_.ok()) {
      late_gradient_ =
          InvalidArgument("parameter " + std::to_string(parameter) + " of shape " +
                          ShapeOf(parameters_[parameter]) +
                          " got a gradient from a second backward pass, after the pass that "
                          "was announced as the last");
    }
    return;
  }
  buckets_[place.bucket].Keep(place.index);
  if (!last_pass_ || place.arrived) return;
  place.arrived = true;
  if (--progress.missing == 0) {
    Complete(place.bucket);
    SendCompleted();
  }
}

void Reducer::Complete(size_t bucket) {
  // From here on its memory is read by the reduction, and a late gradient must not get there.
  buckets_[bucket].Close();
  buckets_[bucket].Detach();
  progress_[bucket].complete = true;
}

void Reducer::SendCompleted() {
  if (communicator_ == nullptr) return;
  while (next_to_send_ < buckets_.size() && progress_[next_to_send_].complete) {
    Send(next_to_send_++);
  }
}

void Reducer::Send(size_t b) {
  Bucket& bucket = buckets_[b];
  void* const output = bucket.reduced(step_).flat.mutable_data_ptr();
  if (options_.logical_shards == 0) {
    works_.push_back(communicator_->AllReduce(bucket.sum(), output, bucket.elements(),
                                              bucket.type(), Reduction::kSum));
    return;
  }
  works_.push_back(communicator_->AllReduceShards(bucket.Nodes(), owners_, output,
                                                  bucket.elements(), bucket.type()));
}

void Reducer::EndPart() {
  std::lock_guard lock(mutex_);
  TORCH_CHECK(part_is_open_, "no part is open");
  for (size_t b = 0; b < buckets_.size(); ++b) {
    if (!buckets_[b].is_open()) continue;  // the last pass has completed it
    if (last_pass_) {
      Complete(b);
    } else {
      buckets_[b].Close();
    }
  }
  part_is_open_ = false;
  if (last_pass_) SendCompleted();
}

void Reducer::StartAll() {
  std::lock_guard lock(mutex_);
  TORCH_CHECK(communicator_ != nullptr && !part_is_open_,
              "StartAll comes after BeginReduction, and after EndPart");
  for (Progress& progress : progress_) progress.complete = true;
  SendCompleted();
}

Status Reducer::Finish() {
  StartAll();
  // What this rank did itself explains more than what came of it.
  Status status = late_gradient_;
  WaitForAll(status);
  communicator_.reset();
  if (!status.ok()) return status.WithContext("reducing step " + std::to_string(step_));
  AdoptReduced(step_);
  return OkStatus();
}

void Reducer::WaitForAll(Status& first_error) {
  // Without the lock: a wait may be long, and a stray backward pass must not wait with it.
  for (Work& work : works_) {
    Status status = work.Wait();
    if (first_error.ok()) first_error = std::move(status);
  }
  works_.clear();
}

std::span<std::byte> Reducer::Reduced(StepNumber step, int bucket) {
  Bucket& of = buckets_[bucket];
  return {static_cast<std::byte*>(of.reduced(step).flat.mutable_data_ptr()), of.bytes()};
}

void Reducer::AdoptReduced(StepNumber step) {
  std::lock_guard lock(mutex_);
  TORCH_CHECK(!part_is_open_ && works_.empty(), "gradients can't be adopted during a reduction");
  reduced_step_[step % 2] = step;
  for (Bucket& bucket : buckets_) bucket.AdoptReduced(step);
}

}  // namespace closeranks::ddp
