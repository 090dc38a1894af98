// The state of a run on its way to those who join, while the others step.
//
// Who holds the step that a world resumes from is a source: it keeps a copy of its state. With each
// step that the sources make, all ranks gather one chunk of it, of which every source gives a
// stripe with its checksum; there are at most 16 chunks, so that a step moves about a tenth more
// than its reduction does (the state of a model under Adam is three times its gradients, an
// all-reduce moves these twice). Who joins listens: it takes part in the reductions, owns no part
// of the batch and keeps what was reduced; with the last chunk it loads the copy and applies these
// steps to it. It computes from the next step but one on, so that nobody waits for that.
//
// Only updates can be made again like that. Where the program has state of its own, or changes what
// an update depends on (a learning rate), all stand while the state is sent.
//
// When a source is lost, the others go on from the chunk that was due, if all of them have the
// copy and all who listen have heard every step; else it begins anew, from the newer step.
#ifndef CLOSERANKS_ELASTIC_STATE_TRANSFER_H_
#define CLOSERANKS_ELASTIC_STATE_TRANSFER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/member.h"
#include "base/status.h"
#include "collectives/communicator.h"
#include "collectives/work.h"
#include "elastic/catch_up.h"
#include "elastic/ledger.h"
#include "elastic/lineage.h"
#include "elastic/replica.h"
#include "elastic/state.h"
#include "rendezvous/decision.h"

namespace closeranks::elastic {

// Used by the training thread only. Errors are the communicator's where nothing else is said.
class StateTransfer {
 public:
  // A step that was reduced while this rank listened.
  struct HeardStep {
    StepNumber step = 0;
    Generation generation = 0;
    StepSamples samples;
    std::vector<std::string> gradients;  // of the replica's buffers
  };

  explicit StateTransfer(size_t least_chunk_bytes) : least_chunk_bytes_(least_chunk_bytes) {}

  // What one rank has to say about a transfer.
  struct Source {
    rendezvous::WorkerState state;  // the same on every rank: what all but listeners hold by now
    StateOwner& owner;
    Lineage lineage;
    bool at_once = false;  // it can't wait for steps to come
  };
  // On every rank, when a world is entered in which `listeners`, by rank, need the state. `anew`,
  // the same on every rank: what was sent before is of no use.
  Status Begin(Communicator& communicator, std::vector<bool> listeners, const Source& source,
               bool anew);
  // Everyone has everything.
  void End();

  // From Begin to End; the same on every rank.
  bool active() const { return active_; }
  // All chunks were gathered; the same on every rank.
  bool complete() const { return done_bytes_ == head_.bytes; }
  // None was gathered yet; the same on every rank.
  bool is_new() const { return done_bytes_ == 0; }
  // Somebody can't wait; the same on every rank.
  bool at_once() const { return at_once_; }
  // This rank needs the state; until Loaded.
  bool listens() const { return active_ && listens_; }
  // Of `rank`, from Begin to End: it has no part in the batch.
  bool Listens(int rank) const { return active_ && listeners_[static_cast<size_t>(rank)]; }
  const std::vector<bool>& listeners() const { return listeners_; }

  // Gathers the next chunk, which there must be; the next call of any kind is FinishChunk.
  // kInternal when a stripe came with another checksum.
  void StartChunk(Communicator& communicator);
  Status FinishChunk();

  // For who listens ------------------------------------------------------------------------------

  void Hear(StepNumber step, Generation generation, const StepSamples& samples,
            std::span<const Buffer> gradients);
  // The newest state on its way: what was heard, applied to what was sent.
  const rendezvous::WorkerState& heard() const { return heard_; }
  // Once complete: the state, as safetensors, of which step, and what is to be applied to it.
  std::string_view bytes() const { return bytes_; }
  const rendezvous::WorkerState& state() const { return head_.state; }
  const Lineage& lineage() const { return head_.lineage; }
  std::span<const HeardStep> steps() const { return steps_; }
  void Loaded();

 private:
  // The copy that a source has, or that a listener receives.
  struct Head {
    rendezvous::WorkerState state;
    Lineage lineage;
    uint64_t bytes = 0;
    uint64_t checksum = 0;
    bool operator==(const Head&) const = default;
  };
  // One rank's word in Begin.
  struct Word {
    Head head;
    rendezvous::WorkerState heard;  // of a listener
    uint64_t done_bytes = 0;        // of a listener
    int64_t at_once = 0;
  };

  Result<std::vector<Word>> Exchange(Communicator& communicator, bool at_once) const;
  bool CanGoOn(std::span<const Word> words, const rendezvous::WorkerState& resume) const;

  const size_t least_chunk_bytes_;
  bool active_ = false;
  bool listens_ = false;
  bool at_once_ = false;
  std::vector<bool> listeners_;  // by rank
  std::vector<int> sources_;     // the ranks that send
  Head head_;
  std::string bytes_;
  uint64_t done_bytes_ = 0;

  // The chunk under way, or the last one.
  size_t chunk_bytes_ = 0;
  size_t stripe_bytes_ = 0;
  std::string stripe_;   // this rank's, behind its checksum
  std::string stripes_;  // of all ranks
  Work gathered_;

  std::vector<HeardStep> steps_;
  rendezvous::WorkerState heard_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_STATE_TRANSFER_H_
