// The ranks of one generation and what they do together: the one header that a user of collectives
// includes (with work.h and data_type.h).
#ifndef CLOSERANKS_COLLECTIVES_COMMUNICATOR_H_
#define CLOSERANKS_COLLECTIVES_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "collectives/algorithms/shard_tree.h"
#include "collectives/backends/backend.h"
#include "collectives/data_type.h"
#include "collectives/work.h"

namespace closeranks {

// Every rank calls the same operations in the same order; the number of that call is the op
// sequence. A call that differs from another rank's in operation, type, count, root or reduction
// ends with kMismatch on both, naming both.
//
// Operations return at once; the Work tells the end. All calls may come from any thread, one at a
// time for operations (their order is the op sequence), Abort at any time. Every operation ends
// within its deadline: `options.timeout` from the call on.
//
// The first operation that ends with an error ends the communicator: the ranks are out of step from
// then on, so everything under way and everything later ends with the same error (see health), and
// a new generation's communicator has to follow. Only arguments that are refused (kInvalidArgument)
// have no such effect, and no op sequence; ranks that don't all make the same mistake then differ
// in what they call.
//
// A lost peer ends the operations of every rank that is connected to it, at once. A rank that only
// waits for ranks which gave up ends when its owner calls Abort, or at its deadline.
class Communicator {
 public:
  struct Options {
    Duration timeout = std::chrono::seconds(60);
  };

  // The backend performs; the communicator numbers and checks. `clock` outlives the communicator.
  Communicator(int rank, int size, Generation generation,
               std::unique_ptr<collectives::Backend> backend, const Clock& clock, Options options);
  // Aborts what is still under way and waits for no peer.
  ~Communicator();

  int rank() const { return rank_; }
  int size() const { return size_; }
  Generation generation() const { return generation_; }
  const collectives::Backend& backend() const { return *backend_; }

  // output[i] = reduction over ranks of input[i], the same bits on every rank. `input` may equal
  // `output` (in place) but not overlap it otherwise. `count` elements each; 0 is allowed.
  Work AllReduce(const void* input, void* output, size_t count, DataType type, Reduction reduction);

  // As AllReduce with kSum, but over logical shards: `owners[s]` is the rank that holds shard s
  // (the same on every rank), `contributions` are this rank's shards as nodes of the fixed tree,
  // together exactly the shards that it owns, ascending. The result has the same bits whatever the
  // number of ranks and however the shards are spread (float32, float64, bfloat16, int64). `output`
  // must not overlap a contribution.
  Work AllReduceShards(std::span<const ShardContribution> contributions,
                       std::span<const int> owners, void* output, size_t count, DataType type);

  // Everyone's buffer becomes the root's.
  Work Broadcast(void* buffer, size_t count, DataType type, int root);

  // output (size() * count elements) = every rank's input, in order of rank. `input` may be this
  // rank's part of the output, but not overlap it otherwise.
  Work AllGather(const void* input, void* output, size_t count, DataType type);

  // As AllGather, but only from `senders` to `receivers`, each a rank once, the same on every rank,
  // all of which call it: a receiver's output has senders.size() * count elements, in their order.
  // The input of who doesn't send, and the output of who doesn't receive, may be null.
  Work Gather(const void* input, void* output, size_t count, DataType type,
              std::span<const int> senders, std::span<const int> receivers);

  // Done when every rank has called it.
  Work Barrier();

  // Ends every operation under way, and every later one, with `why`. Waits for no peer; the
  // transports are usable by a later generation's communicator afterwards. The first call's `why`
  // stays.
  void Abort(Status why);

  // Why it was aborted or which peer was lost; ok while it works.
  Status health() const;

  // The op sequence that the next operation will have. Like an operation: one call at a time.
  uint64_t next_sequence() const { return next_sequence_; }

 private:
  collectives::Ticket NextTicket();
  // kInvalidArgument where an all-reduce of this type and reduction doesn't exist.
  static Status CheckReduction(DataType type, Reduction reduction);

  int rank_;
  int size_;
  Generation generation_;
  std::unique_ptr<collectives::Backend> backend_;
  const Clock& clock_;
  Options options_;
  uint64_t next_sequence_ = 0;
};

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_COMMUNICATOR_H_
