// Writes a Schedule down step by step, and finds out by itself which step has to wait for which.
#ifndef CLOSERANKS_COLLECTIVES_SCHEDULE_SCHEDULE_BUILDER_H_
#define CLOSERANKS_COLLECTIVES_SCHEDULE_SCHEDULE_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "collectives/schedule/schedule.h"

namespace closeranks::collectives {

enum class Finish : bool { kNo = false, kYes = true };
enum class ViewSide : bool { kRight = false, kLeft = true };

// An algorithm calls this in an order in which the steps could run one after the other. A step then
// waits for the last earlier one that wrote what it reads, and for all earlier ones that still read
// or wrote what it writes: so a schedule has no races by construction, also in place. The n-th
// message that one rank sends to another is the n-th that the other receives from it; algorithms
// must emit them in one order on both sides. Calls with a count of 0 add nothing (except SendEmpty
// and RecvEmpty). Single-threaded.
class ScheduleBuilder {
 public:
  using StepId = uint32_t;
  static constexpr StepId kNoStep = UINT32_MAX;

  // `in_place`: input 0 and the output are the same memory.
  ScheduleBuilder(int rank, int size, bool in_place);

  StepId Send(int peer, Slice from, size_t count);
  StepId Recv(int peer, Slice to, size_t count);
  StepId Copy(Slice to, Slice from, size_t count);
  StepId Reduce(Slice to, Slice left, Slice right, size_t count, Finish finish);
  // to = from + message, or message + from.
  StepId ReduceFromView(int peer, Slice to, Slice from, size_t count, Finish finish,
                        ViewSide side = ViewSide::kRight);
  // A message without elements, which tells only that it was sent.
  StepId SendEmpty(int peer);
  StepId RecvEmpty(int peer);

  // `step` also waits for `earlier`. Either may be kNoStep: nothing happens.
  void After(StepId step, StepId earlier);

  // Room in scratch for this many elements.
  Slice AllocateScratch(size_t count);
  // How many inputs the caller gives, if not one.
  void SetInputCount(size_t count) { schedule_.input_count = count; }

  Schedule Build() &&;

 private:
  // A range of a buffer that was treated as one so far. Its begin is the key.
  struct Extent {
    size_t end = 0;
    StepId writer = kNoStep;
    std::vector<StepId> readers;  // since `writer`
  };
  using Extents = std::map<size_t, Extent>;

  StepId Add(Step step);
  Extents& ExtentsOf(Slice slice);
  void Split(Extents& extents, size_t at);
  void NoteRead(StepId step, Slice slice, size_t count);
  void NoteWrite(StepId step, Slice slice, size_t count);

  bool in_place_;
  Schedule schedule_;
  std::vector<uint32_t> sent_;      // messages, for each peer
  std::vector<uint32_t> received_;  // messages, for each peer
  std::map<std::pair<BufferName, uint16_t>, Extents> extents_;
  std::vector<std::pair<StepId, StepId>> edges_;  // (earlier, step)
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_SCHEDULE_SCHEDULE_BUILDER_H_
