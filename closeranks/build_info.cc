#include "closeranks/build_info.h"

#include <ATen/Version.h>
#include <torch/version.h>

#include "closeranks/version.h"
#include "collectives/reduction/kernels.h"

namespace closeranks {

std::string BuildName() {
  return CompilerName() + ", libtorch " TORCH_VERSION ", program " + ProgramId();
}

std::string KernelName() {
  return "libtorch " + at::get_cpu_capability() + ", reductions " +
         std::string(collectives::InstructionSetName(collectives::BestInstructionSet()));
}

}  // namespace closeranks
