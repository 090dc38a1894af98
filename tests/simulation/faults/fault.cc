#include "tests/simulation/faults/fault.h"

#include <array>

namespace closeranks::simulation {

std::span<const FaultKind> FaultKinds() {
  static constexpr std::array<FaultKind, 16> kKinds = {{
      {DrawKillWorker, false},
      {DrawKillWorker, false},
      {DrawStrikeAtPoint, false},
      {DrawStrikeAtPoint, false},
      {DrawStrikeAtPoint, false},
      {DrawKillAllOthers, true},
      {DrawKillHost, true},
      {DrawStartAgain, false},
      {DrawLeave, false},
      {DrawStopWorker, false},
      {DrawStopSupervisor, true},
      {DrawCutLink, true},
      // Silence may come to be taken for a loss, of who alone had the state besides.
      {DrawClogLink, true},
      {DrawResetLink, true},
      {DrawSlowLink, false},
      {DrawPartition, true},
  }};
  return kKinds;
}

}  // namespace closeranks::simulation
