#include "collectives/algorithms/select.h"

#include <algorithm>

namespace closeranks::collectives {
namespace {

// Below this all ranks' inputs together are cheaper to move than to wait a second time.
constexpr size_t kExchangeBytes = 16 << 10;
// So many connections at once that a ring's two neighbours are kinder to the network.
constexpr int kDirectSize = 8;

constexpr size_t kMinChunkBytes = 16 << 10;
constexpr size_t kMaxChunkBytes = 256 << 10;
constexpr size_t kChunksInPart = 8;

}  // namespace

std::string_view AlgorithmName(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kRingAllReduce:
      return "ring";
    case Algorithm::kDirectAllReduce:
      return "direct";
    case Algorithm::kExchangeAllReduce:
      return "exchange";
    case Algorithm::kShardAllReduce:
      return "shard tree";
    case Algorithm::kBinomialBroadcast:
      return "binomial tree";
    case Algorithm::kDirectAllGather:
    case Algorithm::kDirectGather:
      return "direct";
    case Algorithm::kDisseminationBarrier:
      return "dissemination";
  }
  return "unknown algorithm";
}

Algorithm SelectAllReduce(int size, size_t bytes) {
  if (size <= 1 || bytes * static_cast<size_t>(size - 1) <= kExchangeBytes) {
    return Algorithm::kExchangeAllReduce;
  }
  return size <= kDirectSize ? Algorithm::kDirectAllReduce : Algorithm::kRingAllReduce;
}

size_t SelectChunk(size_t part_bytes, size_t element_bytes) {
  size_t bytes = std::clamp(part_bytes / kChunksInPart, kMinChunkBytes, kMaxChunkBytes);
  bytes &= ~size_t{63};  // whole cache lines
  return bytes / element_bytes;
}

}  // namespace closeranks::collectives
