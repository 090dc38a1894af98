#include "tests/simulation/faults/fault.h"

#include <array>

namespace closeranks::simulation {

std::span<const FaultKind> FaultKinds() {
  static constexpr std::array<FaultKind, 16> kKinds = {{
      {DrawKillWorker, true, true},
      {DrawKillWorker, true, true},
      {DrawStrikeAtPoint, true, true},
      {DrawStrikeAtPoint, true, true},
      {DrawStrikeAtPoint, true, true},
      {DrawKillAllOthers, false, false},
      {DrawKillHost, false, true},
      {DrawStartAgain, true, true},
      // Who leaves doesn't come back: all would never be together again.
      {DrawLeave, true, false},
      {DrawStopWorker, true, true},
      {DrawStopSupervisor, false, true},
      {DrawCutLink, false, true},
      // Silence may come to be taken for a loss, of who alone had the state besides.
      {DrawClogLink, false, true},
      {DrawResetLink, false, true},
      {DrawSlowLink, true, true},
      {DrawPartition, false, true},
  }};
  return kKinds;
}

}  // namespace closeranks::simulation
