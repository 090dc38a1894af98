#include "collectives/schedule/symbolic_executor.h"

#include <sstream>
#include <utility>

namespace closeranks::collectives {
namespace {

constexpr int kLeaf = 0;
constexpr int kSum = 1;
constexpr int kFinished = 2;

using Values = std::vector<Expressions::Id>;

class SymbolicRun {
 public:
  SymbolicRun(std::vector<SymbolicRank>& ranks, Expressions& expressions, Random& random)
      : ranks_(ranks), expressions_(expressions), random_(random) {}

  Status Run() {
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      const Schedule& schedule = *ranks_[rank].schedule;
      missing_.push_back(schedule.dependency_counts);
      scratch_.emplace_back(schedule.scratch_elements, Expressions::kUnset);
      for (size_t i = 0; i < schedule.steps.size(); ++i) {
        if (schedule.dependency_counts[i] == 0) ready_.emplace_back(rank, i);
      }
      steps_left_ += schedule.steps.size();
    }
    // A receive whose message isn't there yet goes back; enough of them in a row is a deadlock.
    size_t idle = 0;
    while (!ready_.empty() && idle < 20 * ready_.size() + 100) {
      const size_t pick = random_.Below(ready_.size());
      std::swap(ready_[pick], ready_.back());
      const auto [rank, step] = ready_.back();
      ready_.pop_back();
      bool done = false;
      RETURN_IF_ERROR(TryStep(rank, step, &done));
      if (!done) ready_.emplace_back(rank, step);
      idle = done ? 0 : idle + 1;
    }
    if (steps_left_ > 0) return Stuck();
    if (!messages_.empty()) return Internal("a message was sent that nobody received");
    return OkStatus();
  }

 private:
  // (from, to, number)
  using MessageKey = std::tuple<int, int, uint32_t>;

  Status Stuck() {
    std::ostringstream text;
    text << steps_left_ << " steps never ran, the first that waits:";
    for (const auto& [rank, step] : ready_) {
      const Step& s = ranks_[rank].schedule->steps[step];
      text << " rank " << rank << " step " << step << " for message " << s.message << " of rank "
           << s.peer << ";";
    }
    return Internal(text.str());
  }

  Values& BufferOf(int rank, Slice slice) {
    SymbolicRank& r = ranks_[rank];
    if (slice.buffer == BufferName::kScratch) return scratch_[rank];
    if (slice.buffer == BufferName::kOutput || (r.in_place && slice.index == 0)) return r.output;
    return r.inputs.at(slice.index);
  }

  Status Read(int rank, Slice slice, size_t count, Values* values) {
    values->clear();
    if (count == 0) return OkStatus();  // an empty message has no memory
    const Values& buffer = BufferOf(rank, slice);
    if (slice.begin + count > buffer.size()) return Internal("a read beyond the buffer");
    values->assign(buffer.begin() + slice.begin, buffer.begin() + slice.begin + count);
    for (Expressions::Id id : *values) {
      if (id == Expressions::kUnset) return Internal("an element was read that nobody wrote");
    }
    return OkStatus();
  }

  Status Write(int rank, Slice slice, const Values& values) {
    if (values.empty()) return OkStatus();
    Values& buffer = BufferOf(rank, slice);
    if (slice.begin + values.size() > buffer.size()) return Internal("a write beyond the buffer");
    std::copy(values.begin(), values.end(), buffer.begin() + slice.begin);
    return OkStatus();
  }

  Values Sum(const Values& left, const Values& right, bool finishes) {
    Values sums(left.size());
    for (size_t i = 0; i < left.size(); ++i) {
      sums[i] = expressions_.Sum(left[i], right[i]);
      if (finishes) sums[i] = expressions_.Finished(sums[i]);
    }
    return sums;
  }

  // The message of a receiving step; nothing when it isn't there yet.
  Status TakeMessage(int rank, const Step& step, Values* values, bool* there) {
    auto it = messages_.find({step.peer, rank, step.message});
    *there = it != messages_.end();
    if (!*there) return OkStatus();
    *values = std::move(it->second);
    messages_.erase(it);
    if (values->size() == step.count) return OkStatus();
    return Internal("rank " + std::to_string(rank) + " expected " + std::to_string(step.count) +
                    " elements from rank " + std::to_string(step.peer) + " and got " +
                    std::to_string(values->size()));
  }

  Status TryStep(int rank, size_t index, bool* done) {
    const Step& step = ranks_[rank].schedule->steps[index];
    Values left, right;
    switch (step.kind) {
      case StepKind::kSend:
        RETURN_IF_ERROR(Read(rank, step.from, step.count, &left));
        messages_[{rank, step.peer, step.message}] = left;
        break;
      case StepKind::kRecv:
        RETURN_IF_ERROR(TakeMessage(rank, step, &left, done));
        if (!*done) return OkStatus();
        RETURN_IF_ERROR(Write(rank, step.to, left));
        break;
      case StepKind::kCopy:
        RETURN_IF_ERROR(Read(rank, step.from, step.count, &left));
        RETURN_IF_ERROR(Write(rank, step.to, left));
        break;
      case StepKind::kReduce:
        RETURN_IF_ERROR(Read(rank, step.from, step.count, &left));
        RETURN_IF_ERROR(Read(rank, step.other, step.count, &right));
        RETURN_IF_ERROR(Write(rank, step.to, Sum(left, right, step.finishes)));
        break;
      case StepKind::kReduceFromView:
        RETURN_IF_ERROR(TakeMessage(rank, step, &right, done));
        if (!*done) return OkStatus();
        RETURN_IF_ERROR(Read(rank, step.from, step.count, &left));
        if (step.view_is_left) std::swap(left, right);
        RETURN_IF_ERROR(Write(rank, step.to, Sum(left, right, step.finishes)));
        break;
    }
    *done = true;
    --steps_left_;
    for (uint32_t dependent : ranks_[rank].schedule->DependentsOf(index)) {
      if (--missing_[rank][dependent] == 0) ready_.emplace_back(rank, dependent);
    }
    return OkStatus();
  }

  std::vector<SymbolicRank>& ranks_;
  Expressions& expressions_;
  Random& random_;
  std::vector<std::vector<uint32_t>> missing_;
  std::vector<Values> scratch_;
  std::vector<std::pair<int, size_t>> ready_;  // (rank, step)
  std::map<MessageKey, Values> messages_;
  size_t steps_left_ = 0;
};

}  // namespace

Expressions::Id Expressions::Intern(const Node& node) {
  const auto [it, is_new] = ids_.emplace(node, static_cast<Id>(nodes_.size()));
  if (is_new) nodes_.push_back(node);
  return it->second;
}

Expressions::Id Expressions::Leaf(int rank, int input, size_t element) {
  return Intern({kLeaf, rank, input, static_cast<int64_t>(element)});
}

Expressions::Id Expressions::Sum(Id left, Id right) { return Intern({kSum, left, right, 0}); }

Expressions::Id Expressions::Finished(Id sum) { return Intern({kFinished, sum, 0, 0}); }

std::string Expressions::ToString(Id id) const {
  if (id == kUnset) return "unset";
  const auto& [kind, a, b, c] = nodes_[id];
  std::ostringstream text;
  if (kind == kLeaf) {
    text << "r" << a << ".i" << b << "[" << c << "]";
  } else if (kind == kSum) {
    text << "(" << ToString(static_cast<Id>(a)) << " + " << ToString(static_cast<Id>(b)) << ")";
  } else {
    text << ToString(static_cast<Id>(a)) << "!";
  }
  return text.str();
}

Status RunSymbolically(std::vector<SymbolicRank>& ranks, Expressions& expressions, Random& random) {
  return SymbolicRun(ranks, expressions, random).Run();
}

}  // namespace closeranks::collectives
