// A fault on purpose: which ranks are killed, and in which step.
#ifndef CLOSERANKS_LAUNCHER_FAULT_H_
#define CLOSERANKS_LAUNCHER_FAULT_H_

#include <string_view>
#include <vector>

#include "base/member.h"
#include "base/status.h"

namespace closeranks::launcher {

struct Fault {
  std::vector<int> ranks;  // in the world of that moment
  StepNumber step = 0;     // in the middle of it
};

// "RANK[,RANK...]@STEP". kInvalidArgument says what is wrong with it.
Result<Fault> ParseFault(std::string_view text);

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_FAULT_H_
