#include "collectives/engine/operation.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "collectives/engine/engine.h"
#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

constexpr size_t kScratchAlignment = 64;  // bytes, a cache line

}  // namespace

Operation::Operation(Engine& engine, OperationSpec spec, Kernels kernels, TimePoint now)
    : engine_(engine),
      spec_(std::move(spec)),
      kernels_(kernels),
      element_bytes_(SizeOf(spec_.call.type)),
      started_(now),
      missing_(spec_.schedule->dependency_counts),
      steps_left_(spec_.schedule->steps.size()),
      announced_to_(spec_.schedule->size),
      waits_to_hear_(spec_.schedule->size),
      peers_to_hear_(spec_.schedule->sends_to.size()) {
  CHECK_EQ(spec_.inputs.size(), schedule().input_count);
  for (int peer : schedule().sends_to) waits_to_hear_[peer] = true;
  const size_t bytes = schedule().scratch_elements * element_bytes_;
  if (bytes > 0) {
    const size_t rounded = (bytes + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
    scratch_.reset(static_cast<std::byte*>(std::aligned_alloc(kScratchAlignment, rounded)));
  }
}

Status Operation::Wait() {
  if (IsDone()) return status_;
  return engine_.Wait(*this);
}

std::byte* Operation::At(Slice slice) const {
  const size_t offset = slice.begin * element_bytes_;
  switch (slice.buffer) {
    case BufferName::kInput:
      // Schedules never write to inputs, except as the output of an operation in place.
      return static_cast<std::byte*>(const_cast<void*>(spec_.inputs[slice.index])) + offset;
    case BufferName::kOutput:
      return static_cast<std::byte*>(spec_.output) + offset;
    case BufferName::kScratch:
      return scratch_.get() + offset;
  }
  return nullptr;
}

void Operation::Divide(std::byte* values, size_t count) {
  if (spec_.call.reduction == Reduction::kAverage && kernels_.divide != nullptr) {
    kernels_.divide(values, schedule().size, count);
  }
}

void Operation::RunCopy(const Step& step) {
  std::byte* to = At(step.to);
  const std::byte* from = At(step.from);
  if (to != from) std::memcpy(to, from, BytesOf(step));
}

void Operation::RunReduce(const Step& step) {
  std::byte* to = At(step.to);
  kernels_.sum(to, At(step.from), At(step.other), step.count);
  if (step.finishes) Divide(to, step.count);
}

void Operation::RunReduceFromView(const Step& step, size_t offset,
                                  std::span<const std::byte> piece) {
  std::byte* to = At(step.to) + offset;
  const std::byte* from = At(step.from) + offset;
  const size_t count = piece.size() / element_bytes_;
  if (step.view_is_left) {
    kernels_.sum(to, piece.data(), from, count);
  } else {
    kernels_.sum(to, from, piece.data(), count);
  }
  if (step.finishes) Divide(to, count);
}

void Operation::Finish(size_t index, std::vector<uint32_t>* ready) {
  CHECK_NE(missing_[index], kDone);
  missing_[index] = kDone;
  --steps_left_;
  for (uint32_t dependent : schedule().DependentsOf(index)) {
    if (--missing_[dependent] == 0) ready->push_back(dependent);
  }
}

void Operation::NoteHeard(int peer) {
  if (!waits_to_hear_[peer]) return;
  waits_to_hear_[peer] = false;
  --peers_to_hear_;
}

bool Operation::Needs(int rank) const {
  if (waits_to_hear_[rank]) return true;
  for (size_t i = 0; i < missing_.size(); ++i) {
    if (missing_[i] != kDone && step(i).peer == rank) return true;
  }
  return false;
}

std::vector<int> Operation::AwaitedRanks() const {
  std::vector<int> senders, takers;
  for (size_t i = 0; i < missing_.size(); ++i) {
    if (missing_[i] != 0) continue;
    const Step& step = this->step(i);
    if (step.peer < 0) continue;
    (step.kind == StepKind::kSend ? takers : senders).push_back(step.peer);
  }
  for (int peer : schedule().sends_to) {
    if (waits_to_hear_[peer]) takers.push_back(peer);
  }
  std::vector<int>& ranks = senders.empty() ? takers : senders;
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

void Operation::End(Status status) {
  CHECK(!IsDone());
  status_ = std::move(status);
  scratch_.reset();
  done_.store(true, std::memory_order_release);
}

}  // namespace closeranks::collectives
