// bfloat16 is the upper half of a float32.
#ifndef CLOSERANKS_COLLECTIVES_REDUCTION_BFLOAT16_H_
#define CLOSERANKS_COLLECTIVES_REDUCTION_BFLOAT16_H_

#include <bit>
#include <cstdint>

namespace closeranks::collectives {

inline float FloatFromBFloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// To nearest, ties to even. A NaN stays one, and becomes quiet.
inline uint16_t BFloat16FromFloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_REDUCTION_BFLOAT16_H_
