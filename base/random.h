// Randomness as a seam: incarnations, nonces and jitter come from a Random that the caller passes
// in.
#ifndef CLOSERANKS_BASE_RANDOM_H_
#define CLOSERANKS_BASE_RANDOM_H_

#include <cstdint>

namespace closeranks {

class Random {
 public:
  virtual ~Random() = default;

  // 64 uniform bits.
  virtual uint64_t Next() = 0;

  // Uniform in [0, bound); `bound` must be positive.
  uint64_t Below(uint64_t bound);

  // True once in `n` calls on average; `n` must be positive.
  bool OneIn(uint64_t n) { return Below(n) == 0; }
};

// The kernel's generator: for keys, nonces and incarnations. Callable from any thread.
class SystemRandom final : public Random {
 public:
  uint64_t Next() override;
};

// The same numbers for the same seed, on every machine: SplitMix64 (Steele, Lea and Flood, "Fast
// splittable pseudorandom number generators", 2014). Not for secrets. Single-threaded.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() override;

 private:
  uint64_t state_;
};

// SplitMix64's output function: a bijection of 64-bit words that spreads every bit.
uint64_t MixBits(uint64_t word);

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_RANDOM_H_
