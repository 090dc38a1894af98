// Performs whole collectives: the seam below the communicator.
#ifndef CLOSERANKS_COLLECTIVES_BACKENDS_BACKEND_H_
#define CLOSERANKS_COLLECTIVES_BACKENDS_BACKEND_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "collectives/algorithms/shard_tree.h"
#include "collectives/data_type.h"
#include "collectives/work.h"

namespace closeranks {

// The combined contributions of a run of shards (collectives/algorithms/shard_tree.h).
struct ShardContribution {
  ShardRun run;
  const void* data = nullptr;  // `count` elements
};

namespace collectives {

// Which operation this is.
struct Ticket {
  uint64_t sequence = 0;  // counts up from 0 within the communicator
  TimePoint deadline = kNever;
};

// The operations are those of Communicator (which see), with arguments that it has checked. Called
// by one thread at a time, except Abort and health, which may come from any thread at any time. The
// destructor ends what is under way and waits for no peer.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "native"

  virtual Work AllReduce(const Ticket& ticket, const void* input, void* output, size_t count,
                         DataType type, Reduction reduction) = 0;
  virtual Work AllReduceShards(const Ticket& ticket,
                               std::span<const ShardContribution> contributions,
                               std::span<const int> owners, void* output, size_t count,
                               DataType type) = 0;
  virtual Work Broadcast(const Ticket& ticket, void* buffer, size_t count, DataType type,
                         int root) = 0;
  virtual Work AllGather(const Ticket& ticket, const void* input, void* output, size_t count,
                         DataType type) = 0;
  virtual Work Gather(const Ticket& ticket, const void* input, void* output, size_t count,
                      DataType type, std::span<const int> senders,
                      std::span<const int> receivers) = 0;
  virtual Work Barrier(const Ticket& ticket) = 0;

  virtual void Abort(Status why) = 0;
  virtual Status health() const = 0;
};

}  // namespace collectives
}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_BACKENDS_BACKEND_H_
