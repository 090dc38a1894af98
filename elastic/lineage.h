// Which of several starts of one run this is.
#ifndef CLOSERANKS_ELASTIC_LINEAGE_H_
#define CLOSERANKS_ELASTIC_LINEAGE_H_

#include <cstdint>

#include "base/member.h"

namespace closeranks::elastic {

// An unbroken series of generations since a start from nothing or from a checkpoint, by its number
// in the checkpoint folder. What the parent did after `step` never happened.
struct Lineage {
  int64_t number = 0;   // from 1; 0: there is no checkpoint folder
  int64_t parent = 0;   // 0: it began from nothing
  StepNumber step = 0;  // that it went on from
  bool operator==(const Lineage&) const = default;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_LINEAGE_H_
