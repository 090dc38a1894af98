// The plain loops: the reference for the others, and what they finish a few last elements with.
#ifndef CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_SCALAR_H_
#define CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_SCALAR_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "collectives/reduction/bfloat16.h"

namespace closeranks::collectives {

// Memory needs no alignment here, so elements are moved by memcpy, which compiles to one
// instruction.
template <typename T>
inline T LoadAt(const void* from, size_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(from) + i * sizeof(T), sizeof(T));
  return value;
}
template <typename T>
inline void StoreAt(void* to, size_t i, T value) {
  std::memcpy(static_cast<char*>(to) + i * sizeof(T), &value, sizeof(T));
}

// From element `first` on. T is float, double or uint64_t (whose overflow is defined, unlike
// int64_t's).
template <typename T>
inline void SumFrom(size_t first, void* out, const void* left, const void* right, size_t count) {
  for (size_t i = first; i < count; ++i) {
    StoreAt<T>(out, i, LoadAt<T>(left, i) + LoadAt<T>(right, i));
  }
}

inline void SumBFloat16From(size_t first, void* out, const void* left, const void* right,
                            size_t count) {
  for (size_t i = first; i < count; ++i) {
    StoreAt<uint16_t>(out, i,
                      BFloat16FromFloat(FloatFromBFloat16(LoadAt<uint16_t>(left, i)) +
                                        FloatFromBFloat16(LoadAt<uint16_t>(right, i))));
  }
}

template <typename T>
inline void DivideFrom(size_t first, void* values, T divisor, size_t count) {
  for (size_t i = first; i < count; ++i) StoreAt<T>(values, i, LoadAt<T>(values, i) / divisor);
}

inline void DivideBFloat16From(size_t first, void* values, float divisor, size_t count) {
  for (size_t i = first; i < count; ++i) {
    StoreAt<uint16_t>(values, i,
                      BFloat16FromFloat(FloatFromBFloat16(LoadAt<uint16_t>(values, i)) / divisor));
  }
}

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_REDUCTION_KERNELS_SCALAR_H_
