#include "collectives/schedule/schedule_builder.h"

#include <algorithm>

#include "glog/logging.h"

namespace closeranks::collectives {

ScheduleBuilder::ScheduleBuilder(int rank, int size, bool in_place)
    : in_place_(in_place), sent_(size), received_(size) {
  CHECK(rank >= 0 && rank < size);
  schedule_.rank = rank;
  schedule_.size = size;
}

ScheduleBuilder::StepId ScheduleBuilder::Add(Step step) {
  schedule_.steps.push_back(step);
  return static_cast<StepId>(schedule_.steps.size() - 1);
}

ScheduleBuilder::StepId ScheduleBuilder::Send(int peer, Slice from, size_t count) {
  if (count == 0) return kNoStep;
  const StepId id = SendEmpty(peer);
  schedule_.steps[id].count = count;
  schedule_.steps[id].from = from;
  NoteRead(id, from, count);
  return id;
}

ScheduleBuilder::StepId ScheduleBuilder::Recv(int peer, Slice to, size_t count) {
  if (count == 0) return kNoStep;
  const StepId id = RecvEmpty(peer);
  schedule_.steps[id].count = count;
  schedule_.steps[id].to = to;
  NoteWrite(id, to, count);
  return id;
}

ScheduleBuilder::StepId ScheduleBuilder::Copy(Slice to, Slice from, size_t count) {
  if (count == 0) return kNoStep;
  const StepId id = Add({.kind = StepKind::kCopy, .count = count, .to = to, .from = from});
  NoteRead(id, from, count);
  NoteWrite(id, to, count);
  return id;
}

ScheduleBuilder::StepId ScheduleBuilder::Reduce(Slice to, Slice left, Slice right, size_t count,
                                                Finish finish) {
  if (count == 0) return kNoStep;
  const StepId id = Add({.kind = StepKind::kReduce,
                         .finishes = finish == Finish::kYes,
                         .count = count,
                         .to = to,
                         .from = left,
                         .other = right});
  NoteRead(id, left, count);
  NoteRead(id, right, count);
  NoteWrite(id, to, count);
  return id;
}

ScheduleBuilder::StepId ScheduleBuilder::ReduceFromView(int peer, Slice to, Slice from,
                                                        size_t count, Finish finish,
                                                        ViewSide side) {
  if (count == 0) return kNoStep;
  const StepId id = RecvEmpty(peer);
  Step& step = schedule_.steps[id];
  step.kind = StepKind::kReduceFromView;
  step.finishes = finish == Finish::kYes;
  step.view_is_left = side == ViewSide::kLeft;
  step.count = count;
  step.to = to;
  step.from = from;
  NoteRead(id, from, count);
  NoteWrite(id, to, count);
  return id;
}

ScheduleBuilder::StepId ScheduleBuilder::SendEmpty(int peer) {
  CHECK(peer != schedule_.rank);
  return Add({.kind = StepKind::kSend, .peer = peer, .message = sent_[peer]++});
}

ScheduleBuilder::StepId ScheduleBuilder::RecvEmpty(int peer) {
  CHECK(peer != schedule_.rank);
  return Add({.kind = StepKind::kRecv, .peer = peer, .message = received_[peer]++});
}

void ScheduleBuilder::After(StepId step, StepId earlier) {
  if (step == kNoStep || earlier == kNoStep) return;
  CHECK_LT(earlier, step);
  edges_.emplace_back(earlier, step);
}

Slice ScheduleBuilder::AllocateScratch(size_t count) {
  const Slice slice = Scratch(schedule_.scratch_elements);
  schedule_.scratch_elements += count;
  return slice;
}

ScheduleBuilder::Extents& ScheduleBuilder::ExtentsOf(Slice slice) {
  if (in_place_ && slice.buffer == BufferName::kInput && slice.index == 0) {
    return extents_[{BufferName::kOutput, 0}];
  }
  return extents_[{slice.buffer, slice.index}];
}

// Makes `at` a border between two extents, if it lies inside of one.
void ScheduleBuilder::Split(Extents& extents, size_t at) {
  auto after = extents.lower_bound(at);
  if (after == extents.begin() || (after != extents.end() && after->first == at)) return;
  Extent& before = std::prev(after)->second;
  if (before.end <= at) return;
  Extent rest = before;
  before.end = at;
  extents.emplace_hint(after, at, std::move(rest));
}

void ScheduleBuilder::NoteRead(StepId step, Slice slice, size_t count) {
  Extents& extents = ExtentsOf(slice);
  const size_t end = slice.begin + count;
  Split(extents, slice.begin);
  Split(extents, end);
  size_t at = slice.begin;
  while (at < end) {
    auto it = extents.lower_bound(at);
    if (it != extents.end() && it->first == at) {
      After(step, it->second.writer);
      it->second.readers.push_back(step);
      at = it->second.end;
    } else {  // nobody touched this part before
      const size_t next = it == extents.end() ? end : std::min(end, it->first);
      extents.emplace_hint(it, at, Extent{next, kNoStep, {step}});
      at = next;
    }
  }
}

void ScheduleBuilder::NoteWrite(StepId step, Slice slice, size_t count) {
  Extents& extents = ExtentsOf(slice);
  const size_t end = slice.begin + count;
  Split(extents, slice.begin);
  Split(extents, end);
  auto it = extents.lower_bound(slice.begin);
  while (it != extents.end() && it->first < end) {
    if (it->second.readers.empty()) After(step, it->second.writer);
    for (StepId reader : it->second.readers) {
      if (reader != step) After(step, reader);
    }
    // A step that reads and writes the same range waits for that range's writer by its read.
    it = extents.erase(it);
  }
  extents.emplace_hint(it, slice.begin, Extent{end, step, {}});
}

Schedule ScheduleBuilder::Build() && {
  std::sort(edges_.begin(), edges_.end());
  edges_.erase(std::unique(edges_.begin(), edges_.end()), edges_.end());
  const size_t steps = schedule_.steps.size();
  schedule_.dependency_counts.assign(steps, 0);
  schedule_.dependents_begin.assign(steps + 1, 0);
  schedule_.dependents.reserve(edges_.size());
  for (const auto& [earlier, step] : edges_) {
    ++schedule_.dependency_counts[step];
    ++schedule_.dependents_begin[earlier + 1];
    schedule_.dependents.push_back(step);
  }
  for (size_t i = 0; i < steps; ++i) {
    schedule_.dependents_begin[i + 1] += schedule_.dependents_begin[i];
  }
  for (int peer = 0; peer < schedule_.size; ++peer) {
    if (sent_[peer] > 0) schedule_.sends_to.push_back(peer);
    if (received_[peer] > 0) schedule_.receives_from.push_back(peer);
  }
  return std::move(schedule_);
}

}  // namespace closeranks::collectives
