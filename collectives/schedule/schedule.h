// What one rank does in one collective, as data: no I/O, no threads, no pointers. The engine runs
// it over transports; the symbolic executor runs it on paper, for all ranks at once.
#ifndef CLOSERANKS_COLLECTIVES_SCHEDULE_SCHEDULE_H_
#define CLOSERANKS_COLLECTIVES_SCHEDULE_SCHEDULE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace closeranks::collectives {

enum class StepKind : uint8_t {
  kSend,            // `from` goes to `peer`
  kRecv,            // a message of `peer` goes into `to`
  kCopy,            // to = from
  kReduce,          // to = from + other
  kReduceFromView,  // to = from + a message of `peer`, which isn't stored anywhere else
};

// The memory of a rank: the caller's inputs (most operations have one), the caller's output, and
// scratch that lives as long as the operation.
enum class BufferName : uint8_t { kInput, kOutput, kScratch };

// Where a step's elements begin; how many there are is the step's `count`.
struct Slice {
  BufferName buffer = BufferName::kInput;
  uint16_t index = 0;  // which of the inputs; 0 for the others
  size_t begin = 0;    // elements

  Slice At(size_t offset) const { return {buffer, index, begin + offset}; }
  bool operator==(const Slice&) const = default;
};

inline Slice Input(size_t begin, uint16_t index = 0) { return {BufferName::kInput, index, begin}; }
inline Slice Output(size_t begin) { return {BufferName::kOutput, 0, begin}; }
inline Slice Scratch(size_t begin) { return {BufferName::kScratch, 0, begin}; }

struct Step {
  StepKind kind = StepKind::kCopy;
  // kReduce, kReduceFromView: what is stored is final, so an average is divided here, once.
  bool finishes = false;
  // kReduceFromView: the message is the left operand.
  bool view_is_left = false;
  int peer = -1;         // kSend, kRecv, kReduceFromView
  uint32_t message = 0;  // the how-manieth message to (from) that peer in this operation
  size_t count = 0;      // elements
  Slice to{};
  Slice from{};
  Slice other{};
};

// Immutable once built, so that one may serve many operations at once. Steps stand in an order in
// which they could run one after the other; each may run as soon as those it depends on are done. A
// send is done when its memory may be changed, a receive when its memory may be read.
struct Schedule {
  int rank = 0;
  int size = 1;
  size_t input_count = 1;       // how many inputs the caller gives
  size_t scratch_elements = 0;  // elements
  std::vector<Step> steps;

  // The steps that wait for step i, and how many steps i itself waits for.
  std::span<const uint32_t> DependentsOf(size_t i) const {
    return std::span(dependents)
        .subspan(dependents_begin[i], dependents_begin[i + 1] - dependents_begin[i]);
  }
  std::vector<uint32_t> dependency_counts;  // for each step
  std::vector<uint32_t> dependents_begin;   // for each step, and one more
  std::vector<uint32_t> dependents;

  std::vector<int> sends_to;       // peers, ascending
  std::vector<int> receives_from;  // peers, ascending
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_SCHEDULE_SCHEDULE_H_
