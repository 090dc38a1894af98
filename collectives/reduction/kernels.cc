#include "collectives/reduction/kernels.h"

#include "collectives/reduction/kernels_scalar.h"
#include "glog/logging.h"
#if defined(__x86_64__)
#include "collectives/reduction/kernels_x86.h"
#endif

namespace closeranks::collectives {
namespace {

template <typename T>
void Sum(void* out, const void* left, const void* right, size_t count) {
  SumFrom<T>(0, out, left, right, count);
}

void SumBFloat16(void* out, const void* left, const void* right, size_t count) {
  SumBFloat16From(0, out, left, right, count);
}

template <typename T>
void Divide(void* values, double divisor, size_t count) {
  DivideFrom<T>(0, values, static_cast<T>(divisor), count);
}

void DivideBFloat16(void* values, double divisor, size_t count) {
  DivideBFloat16From(0, values, static_cast<float>(divisor), count);
}

Kernels ScalarKernels(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return {Sum<float>, Divide<float>};
    case DataType::kFloat64:
      return {Sum<double>, Divide<double>};
    case DataType::kBFloat16:
      return {SumBFloat16, DivideBFloat16};
    case DataType::kInt64:
      return {Sum<uint64_t>, nullptr};
    case DataType::kUint8:
      return {};
  }
  return {};
}

}  // namespace

std::string_view InstructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
      return "scalar";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
  }
  return "unknown";
}

bool IsSupported(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx2) return __builtin_cpu_supports("avx2");
  if (set == InstructionSet::kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return set == InstructionSet::kScalar;
}

InstructionSet BestInstructionSet() {
  if (IsSupported(InstructionSet::kAvx512)) return InstructionSet::kAvx512;
  if (IsSupported(InstructionSet::kAvx2)) return InstructionSet::kAvx2;
  return InstructionSet::kScalar;
}

Kernels KernelsFor(InstructionSet set, DataType type) {
  CHECK(IsSupported(set)) << InstructionSetName(set);
#if defined(__x86_64__)
  if (set == InstructionSet::kAvx512) return Avx512Kernels(type);
  if (set == InstructionSet::kAvx2) return Avx2Kernels(type);
#endif
  return ScalarKernels(type);
}

}  // namespace closeranks::collectives
