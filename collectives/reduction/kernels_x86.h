// The kernels for x86 registers wider than the plain loops', for kernels.cc only.
#ifndef CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_X86_H_
#define CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_X86_H_

#include "collectives/reduction/kernels.h"

namespace closeranks::collectives {

// Nulls for a type without kernels. Each function in them carries its own target attribute, so the
// files need no compiler flags and nothing else in them uses the wide registers.
Kernels Avx2Kernels(DataType type);
Kernels Avx512Kernels(DataType type);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_X86_H_
