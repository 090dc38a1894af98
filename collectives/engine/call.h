// What an operation is, in the 16 bytes that its first message to each peer carries.
#ifndef CLOSERANKS_COLLECTIVES_ENGINE_CALL_H_
#define CLOSERANKS_COLLECTIVES_ENGINE_CALL_H_

#include <cstdint>
#include <string>

#include "collectives/algorithms/select.h"
#include "collectives/data_type.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

// The numbers stand on the wire: never reuse one.
enum class OperationKind : uint8_t {
  kAllReduce = 1,
  kAllReduceShards = 2,
  kBroadcast = 3,
  kAllGather = 4,
  kBarrier = 5,
  kGather = 6,
};

// What all ranks must agree on. Nothing is hashed, except the spread of shards and who
// gathers from whom, so that a rank whose call differs can say in words what the other called.
struct Call {
  OperationKind operation = OperationKind::kBarrier;
  DataType type = DataType::kUint8;
  Reduction reduction = Reduction::kSum;
  Algorithm algorithm = Algorithm::kDisseminationBarrier;
  // kBroadcast: the root. kAllReduceShards: 32 bits of hash of who owns which shard. kGather: of
  // senders and receivers.
  uint32_t root = 0;
  uint64_t count = 0;

  Fingerprint Encode() const;
  static Call Decode(const Fingerprint& fingerprint);
  // "all-reduce float32 x 100 sum (ring)"
  std::string ToString() const;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ENGINE_CALL_H_
