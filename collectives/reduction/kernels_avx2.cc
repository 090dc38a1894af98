#if defined(__x86_64__)

#include <immintrin.h>

#include "collectives/reduction/kernels_scalar.h"
#include "collectives/reduction/kernels_x86.h"

#define CLOSERANKS_AVX2 __attribute__((target("avx2")))

namespace closeranks::collectives {
namespace {

CLOSERANKS_AVX2 void SumFloat(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<float*>(out);
  const auto* a = static_cast<const float*>(left);
  const auto* b = static_cast<const float*>(right);
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256 low = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
    const __m256 high = _mm256_add_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8));
    _mm256_storeu_ps(o + i, low);
    _mm256_storeu_ps(o + i + 8, high);
  }
  SumFrom<float>(i, out, left, right, count);
}

CLOSERANKS_AVX2 void SumDouble(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<double*>(out);
  const auto* a = static_cast<const double*>(left);
  const auto* b = static_cast<const double*>(right);
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    _mm256_storeu_pd(o + i, _mm256_add_pd(_mm256_loadu_pd(a + i), _mm256_loadu_pd(b + i)));
  }
  SumFrom<double>(i, out, left, right, count);
}

CLOSERANKS_AVX2 inline __m256i LoadInts(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

CLOSERANKS_AVX2 void SumInt64(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<int64_t*>(out);
  const auto* a = static_cast<const int64_t*>(left);
  const auto* b = static_cast<const int64_t*>(right);
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(o + i),
                        _mm256_add_epi64(LoadInts(a + i), LoadInts(b + i)));
  }
  SumFrom<uint64_t>(i, out, left, right, count);
}

CLOSERANKS_AVX2 inline __m256 Widen(const uint16_t* halves) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// BFloat16FromFloat, eight at a time; each result in the lower half of its 32 bits.
CLOSERANKS_AVX2 inline __m256i Round(__m256 values) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(rounded, quiet, is_nan);
}

CLOSERANKS_AVX2 inline void StoreNarrow(uint16_t* to, __m256 values) {
  // The pack works within 128-bit lanes: its result's first and third quarters are ours.
  const __m256i rounded = Round(values);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}

CLOSERANKS_AVX2 void SumBFloat16(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<uint16_t*>(out);
  const auto* a = static_cast<const uint16_t*>(left);
  const auto* b = static_cast<const uint16_t*>(right);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) StoreNarrow(o + i, _mm256_add_ps(Widen(a + i), Widen(b + i)));
  SumBFloat16From(i, out, left, right, count);
}

CLOSERANKS_AVX2 void DivideFloat(void* values, double divisor, size_t count) {
  auto* v = static_cast<float*>(values);
  const __m256 d = _mm256_set1_ps(static_cast<float>(divisor));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(v + i, _mm256_div_ps(_mm256_loadu_ps(v + i), d));
  }
  DivideFrom<float>(i, values, static_cast<float>(divisor), count);
}

CLOSERANKS_AVX2 void DivideDouble(void* values, double divisor, size_t count) {
  auto* v = static_cast<double*>(values);
  const __m256d d = _mm256_set1_pd(divisor);
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    _mm256_storeu_pd(v + i, _mm256_div_pd(_mm256_loadu_pd(v + i), d));
  }
  DivideFrom<double>(i, values, divisor, count);
}

CLOSERANKS_AVX2 void DivideBFloat16(void* values, double divisor, size_t count) {
  auto* v = static_cast<uint16_t*>(values);
  const __m256 d = _mm256_set1_ps(static_cast<float>(divisor));
  size_t i = 0;
  for (; i + 8 <= count; i += 8) StoreNarrow(v + i, _mm256_div_ps(Widen(v + i), d));
  DivideBFloat16From(i, values, static_cast<float>(divisor), count);
}

}  // namespace

Kernels Avx2Kernels(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return {SumFloat, DivideFloat};
    case DataType::kFloat64:
      return {SumDouble, DivideDouble};
    case DataType::kBFloat16:
      return {SumBFloat16, DivideBFloat16};
    case DataType::kInt64:
      return {SumInt64, nullptr};
    case DataType::kUint8:
      return {};
  }
  return {};
}

}  // namespace closeranks::collectives

#endif  // defined(__x86_64__)
