#include "base/random.h"

#include <sys/random.h>

#include "glog/logging.h"

namespace closeranks {

uint64_t Random::Below(uint64_t bound) {
  CHECK_GT(bound, 0u);
  // Lemire's multiply-shift without the rejection: the bias is below bound / 2^64.
  return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
}

uint64_t SystemRandom::Next() {
  uint64_t word;
  PCHECK(getrandom(&word, sizeof(word), 0) == static_cast<ssize_t>(sizeof(word)));
  return word;
}

uint64_t SeededRandom::Next() {
  state_ += 0x9e3779b97f4a7c15u;
  return MixBits(state_);
}

uint64_t MixBits(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

}  // namespace closeranks
