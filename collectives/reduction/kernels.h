// The loops that add. Each exists for several instruction sets, chosen at run time, and all of them
// give the same bits: an addition is one IEEE operation, whatever the width of the register. Pure
// functions, any thread.
#ifndef CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_H_
#define CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_H_

#include <cstddef>
#include <string_view>

#include "collectives/data_type.h"

namespace closeranks::collectives {

// out[i] = left[i] + right[i]. `out` may equal `left` or `right` but not overlap them otherwise; no
// alignment is needed. bfloat16 is added in float32 and rounded to nearest even; int64 wraps
// around.
using SumKernel = void (*)(void* out, const void* left, const void* right, size_t count);

// values[i] /= divisor, correctly rounded in the values' type (bfloat16: divided in float32).
using DivideKernel = void (*)(void* values, double divisor, size_t count);

struct Kernels {
  SumKernel sum = nullptr;        // never null for a type that SupportsSum
  DivideKernel divide = nullptr;  // null for integers
};

enum class InstructionSet { kScalar, kAvx2, kAvx512 };
std::string_view InstructionSetName(InstructionSet set);  // "avx512"

// Asks the processor. kAvx512 means F, BW, DQ and VL.
bool IsSupported(InstructionSet set);
InstructionSet BestInstructionSet();

constexpr bool SupportsSum(DataType type) { return type != DataType::kUint8; }
constexpr bool SupportsAverage(DataType type) {
  return SupportsSum(type) && type != DataType::kInt64;
}

// `set` must be supported by this processor.
Kernels KernelsFor(InstructionSet set, DataType type);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_H_
