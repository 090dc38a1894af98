// A fault on purpose: which ranks are killed, and when.
#ifndef CLOSERANKS_LAUNCHER_FAULT_H_
#define CLOSERANKS_LAUNCHER_FAULT_H_

#include <string_view>
#include <vector>

#include "base/member.h"
#include "base/status.h"

namespace closeranks::launcher {

struct Fault {
  std::vector<int> ranks;  // in the world of that moment
  // In the middle of this step, or of the one at this percentage of the run.
  StepNumber step = 0;
  double percent = 0;

  // Whether `step` of `steps` is late enough.
  bool IsDue(StepNumber step, StepNumber steps) const;
};

// "RANK[,RANK...]@STEP" or "RANK[,RANK...]@PERCENT%". kInvalidArgument says what is wrong with it.
Result<Fault> ParseFault(std::string_view text);

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_FAULT_H_
