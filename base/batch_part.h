// A part of one step's global batch, as those name it who tell of a worker that died on it.
#ifndef CLOSERANKS_BASE_BATCH_PART_H_
#define CLOSERANKS_BASE_BATCH_PART_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/member.h"

namespace closeranks {

struct BatchPart {
  StepNumber step = 0;  // 0: none
  // Positions [begin, end) of the step's batch, which divide it alike on every rank.
  int32_t begin = 0;
  int32_t end = 0;
  std::vector<int64_t> samples;  // what the data set calls them: the first kMostSamples

  static constexpr size_t kMostSamples = 64;

  bool IsNone() const { return step == 0; }
  // Whether some position of a step is in both.
  bool Overlaps(const BatchPart& other) const {
    return step == other.step && begin < other.end && other.begin < end;
  }
  bool operator==(const BatchPart&) const = default;
};

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_BATCH_PART_H_
