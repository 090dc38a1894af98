// Which algorithm performs an operation.
#ifndef CLOSERANKS_COLLECTIVES_ALGORITHMS_SELECT_H_
#define CLOSERANKS_COLLECTIVES_ALGORITHMS_SELECT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace closeranks::collectives {

// The numbers stand in fingerprints on the wire: never reuse one.
enum class Algorithm : uint8_t {
  kRingAllReduce = 1,
  kDirectAllReduce = 2,
  kExchangeAllReduce = 3,
  kShardAllReduce = 4,
  kBinomialBroadcast = 5,
  kDirectAllGather = 6,
  kDisseminationBarrier = 7,
  kDirectGather = 8,
};
std::string_view AlgorithmName(Algorithm algorithm);  // "ring"

// Must come out the same on every rank, so it may depend only on what every rank knows.
Algorithm SelectAllReduce(int size, size_t bytes);

// How many elements of `element_bytes` go into a message when `part_bytes` are sent to one peer:
// small enough that additions overlap with transfers, large enough that a message's own cost
// doesn't show.
size_t SelectChunk(size_t part_bytes, size_t element_bytes);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ALGORITHMS_SELECT_H_
