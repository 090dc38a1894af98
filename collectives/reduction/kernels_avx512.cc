#if defined(__x86_64__)

#include <immintrin.h>

#include "collectives/reduction/kernels_scalar.h"
#include "collectives/reduction/kernels_x86.h"

// GCC 12 takes the intrinsics' own "undefined" operands for mistakes (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#define CLOSERANKS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

namespace closeranks::collectives {
namespace {

CLOSERANKS_AVX512 void SumFloat(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<float*>(out);
  const auto* a = static_cast<const float*>(left);
  const auto* b = static_cast<const float*>(right);
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m512 low = _mm512_add_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
    const __m512 high = _mm512_add_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16));
    _mm512_storeu_ps(o + i, low);
    _mm512_storeu_ps(o + i + 16, high);
  }
  SumFrom<float>(i, out, left, right, count);
}

CLOSERANKS_AVX512 void SumDouble(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<double*>(out);
  const auto* a = static_cast<const double*>(left);
  const auto* b = static_cast<const double*>(right);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm512_storeu_pd(o + i, _mm512_add_pd(_mm512_loadu_pd(a + i), _mm512_loadu_pd(b + i)));
  }
  SumFrom<double>(i, out, left, right, count);
}

CLOSERANKS_AVX512 void SumInt64(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<int64_t*>(out);
  const auto* a = static_cast<const int64_t*>(left);
  const auto* b = static_cast<const int64_t*>(right);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm512_storeu_si512(o + i,
                        _mm512_add_epi64(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i)));
  }
  SumFrom<uint64_t>(i, out, left, right, count);
}

CLOSERANKS_AVX512 inline __m512 Widen(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// BFloat16FromFloat, sixteen at a time.
CLOSERANKS_AVX512 inline __m256i Narrow(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(is_nan, rounded, quiet));
}

CLOSERANKS_AVX512 void SumBFloat16(void* out, const void* left, const void* right, size_t count) {
  auto* o = static_cast<uint16_t*>(out);
  const auto* a = static_cast<const uint16_t*>(left);
  const auto* b = static_cast<const uint16_t*>(right);
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 x = Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i)));
    const __m512 y = Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + i)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(o + i), Narrow(_mm512_add_ps(x, y)));
  }
  SumBFloat16From(i, out, left, right, count);
}

CLOSERANKS_AVX512 void DivideFloat(void* values, double divisor, size_t count) {
  auto* v = static_cast<float*>(values);
  const __m512 d = _mm512_set1_ps(static_cast<float>(divisor));
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(v + i, _mm512_div_ps(_mm512_loadu_ps(v + i), d));
  }
  DivideFrom<float>(i, values, static_cast<float>(divisor), count);
}

CLOSERANKS_AVX512 void DivideDouble(void* values, double divisor, size_t count) {
  auto* v = static_cast<double*>(values);
  const __m512d d = _mm512_set1_pd(divisor);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm512_storeu_pd(v + i, _mm512_div_pd(_mm512_loadu_pd(v + i), d));
  }
  DivideFrom<double>(i, values, divisor, count);
}

CLOSERANKS_AVX512 void DivideBFloat16(void* values, double divisor, size_t count) {
  auto* v = static_cast<uint16_t*>(values);
  const __m512 d = _mm512_set1_ps(static_cast<float>(divisor));
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    auto* at = reinterpret_cast<__m256i*>(v + i);
    _mm256_storeu_si256(at, Narrow(_mm512_div_ps(Widen(_mm256_loadu_si256(at)), d)));
  }
  DivideBFloat16From(i, values, static_cast<float>(divisor), count);
}

}  // namespace

Kernels Avx512Kernels(DataType type) {
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
