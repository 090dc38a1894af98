#include "collectives/engine/call.h"

#include <sstream>

namespace closeranks::collectives {
namespace {

std::string_view OperationName(OperationKind operation) {
  switch (operation) {
    case OperationKind::kAllReduce:
      return "all-reduce";
    case OperationKind::kAllReduceShards:
      return "all-reduce of shards";
    case OperationKind::kBroadcast:
      return "broadcast";
    case OperationKind::kAllGather:
      return "all-gather";
    case OperationKind::kGather:
      return "gather";
    case OperationKind::kBarrier:
      return "barrier";
  }
  return "unknown operation";
}

}  // namespace

Fingerprint Call::Encode() const {
  const uint64_t words = static_cast<uint64_t>(operation) | static_cast<uint64_t>(type) << 8 |
                         static_cast<uint64_t>(reduction) << 16 |
                         static_cast<uint64_t>(algorithm) << 24 | static_cast<uint64_t>(root) << 32;
  return {words, count};
}

Call Call::Decode(const Fingerprint& fingerprint) {
  Call call;
  call.operation = static_cast<OperationKind>(fingerprint[0] & 0xff);
  call.type = static_cast<DataType>(fingerprint[0] >> 8 & 0xff);
  call.reduction = static_cast<Reduction>(fingerprint[0] >> 16 & 0xff);
  call.algorithm = static_cast<Algorithm>(fingerprint[0] >> 24 & 0xff);
  call.root = static_cast<uint32_t>(fingerprint[0] >> 32);
  call.count = fingerprint[1];
  return call;
}

std::string Call::ToString() const {
  std::ostringstream text;
  text << OperationName(operation);
  if (operation == OperationKind::kBarrier) return text.str();
  text << " " << DataTypeName(type) << " x " << count;
  if (operation == OperationKind::kAllReduce) text << " " << ReductionName(reduction);
  if (operation == OperationKind::kBroadcast) text << " from rank " << root;
  if (operation == OperationKind::kAllReduceShards || operation == OperationKind::kGather) {
    text << " spread as " << std::hex << root << std::dec;
  }
  text << " (" << AlgorithmName(algorithm) << ")";
  return text.str();
}

}  // namespace closeranks::collectives
