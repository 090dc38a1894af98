// The state of a run on its way to those who join, while the others step.
//
// Who holds the step that a world resumes from is a source: it keeps a copy of its state. While the
// sources compute a step, who joins gathers one chunk of it, of which every source gives a stripe
// with its checksum. There are at most 8 chunks: the state of a model under Adam is three times its
// gradients, an all-reduce moves these twice, so with n sources each sends in a step 1/5n of what
// the reduction moves anyway, and who joins receives a fifth. More chunks would cost less in each
// step, and who joins more memory. Who joins listens: it takes part in the reductions, owns no part
// of the batch and keeps what was reduced; with the last chunk it loads the copy and applies these
// steps to it. It computes from the next step but one on, so that nobody waits for that.
//
// Only updates can be made again like that. Where the program has state of its own, or changes what
// an update depends on (a learning rate), all stand while the state is sent.
//
// With each chunk a listener says whose stripe of the chunk before had another checksum: all go
// back to that chunk, and its stripes come from the other sources. So after the last chunk one more
// round, of words alone, shows that everyone has everything.
//
// When a source is lost, the others go on from the chunk that was due, where all who listen have
// heard every step; else it begins anew, from the newer step.
#ifndef CLOSERANKS_ELASTIC_STATE_TRANSFER_H_
#define CLOSERANKS_ELASTIC_STATE_TRANSFER_H_

#include <cstddef>
#include <cstdint>
#include <set>
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
#include "elastic/page_buffer.h"
#include "elastic/replica.h"
#include "elastic/state.h"
#include "rendezvous/decision.h"

namespace closeranks::elastic {

// Used by the training thread only. Errors are the communicator's where nothing else is said.
class StateTransfer {
 public:
  // A step that was reduced while this rank listened.
  struct HeardStep {
    rendezvous::WorkerState state;  // after it
    StepSamples samples;
    std::vector<PageBuffer> gradients;  // of the replica's buffers
  };

  explicit StateTransfer(size_t least_chunk_bytes) : least_chunk_bytes_(least_chunk_bytes) {}
  // Aborts the communicator of a chunk that is under way.
  ~StateTransfer();
  StateTransfer(const StateTransfer&) = delete;
  StateTransfer& operator=(const StateTransfer&) = delete;

  // What one rank has to say about a transfer.
  struct Source {
    rendezvous::WorkerState state;  // the same on every rank: what all but listeners hold by now
    StateOwner& owner;
    Lineage lineage;
    bool at_once = false;  // it can't wait for steps to come
    bool leaves = false;   // it makes no further step
    // It has just caught up, in the middle of a step that others are through with: what the
    // program changes by hand may be another than theirs, without anything being wrong.
    bool was_behind = false;
  };
  // On every rank, when a world is entered in which `listeners`, by rank, need the state. `anew`,
  // the same on every rank: what was sent before is of no use.
  Status Begin(Communicator& communicator, std::vector<bool> listeners, const Source& source,
               bool anew);
  // Everyone has everything.
  void End();

  // From Begin to End; the same on every rank, as the next six are.
  bool active() const { return active_; }
  // Everyone has everything, and has said so.
  bool confirmed() const { return confirmed_; }
  // All chunks were sent; some may turn out to be due again.
  bool all_sent() const { return done_bytes_ == head_.bytes; }
  // Since Begin: it began anew.
  bool is_new() const { return is_new_; }
  // Since Begin: who was to have the same state hasn't, and sends nothing of it. An audit of all
  // but those that aren't compared (by rank: who listens or was behind) says more.
  bool sources_differ() const { return sources_differ_; }
  const std::vector<bool>& not_compared() const { return not_compared_; }
  // Somebody can't wait, or all sources leave.
  bool at_once() const { return at_once_; }
  // This rank needs the state; until Loaded.
  bool listens() const { return active_ && listens_; }
  // Of `rank`, from Begin to End: it has no part in the batch.
  bool Listens(int rank) const { return active_ && listeners_[static_cast<size_t>(rank)]; }
  const std::vector<bool>& listeners() const { return listeners_; }
  // How many don't listen.
  int holders() const;

  // Begins to gather the next chunk, until it's confirmed. `communicator` stays until FinishChunk,
  // which is to be called before Begin, End, StartChunk and Loaded.
  void StartChunk(Communicator& communicator);
  // Waits for it; ok when none is under way. kInternal, at who receives, when what the only source
  // that is left sends arrives with other checksums again and again.
  Status FinishChunk();

  // For who listens ------------------------------------------------------------------------------

  void Hear(StepNumber step, Generation generation, const StepSamples& samples,
            std::span<const Buffer> gradients);
  // The newest state on its way: what was heard, applied to what was sent.
  const rendezvous::WorkerState& heard() const {
    return steps_.empty() ? head_.state : steps_.back().state;
  }
  // This rank has all of the state, if CheckReceived says so.
  bool received() const { return all_sent() && bad_source_ < 0; }
  Status CheckReceived() const;  // kInternal: its checksum is another
  // Then: the state, as safetensors, of which step, and what is to be applied to it.
  std::string_view bytes() const { return bytes_.view().substr(0, head_.bytes); }
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
    Head head;                // nothing, where it has no copy
    uint64_t done_bytes = 0;  // of a listener, as the next
    int64_t can_go_on = 0;    // it has heard every step up to the one that the world resumes from
    int64_t at_once = 0;
    int64_t leaves = 0;
    int64_t was_behind = 0;
  };
  // Each rank's word beside a chunk.
  struct ChunkWord {
    uint64_t checksum = 0;    // of its stripe
    int64_t bad_source = -1;  // of the chunk before
  };

  Result<std::vector<Word>> Exchange(Communicator& communicator, const Source& source) const;
  bool CanGoOn(std::span<const Word> words) const;
  void CopyState(const Source& source);
  void DropCopy();
  void DropStepsAfter(const rendezvous::WorkerState& state);
  // The stripe that the source gives which stands at `index` of sources_. The last one reaches
  // beyond the chunk.
  std::string_view Stripe(size_t index) const;
  // The rank whose stripe isn't what it was; -1: there is none.
  int FindBadSource() const;
  // Back to the chunk before, without these sources while there are others.
  Status GoBack(const std::set<int>& bad_sources);

  const size_t least_chunk_bytes_;
  bool active_ = false;
  bool confirmed_ = false;
  bool is_new_ = false;
  bool listens_ = false;
  bool at_once_ = false;
  bool sources_differ_ = false;
  std::vector<bool> listeners_;  // by rank
  std::vector<bool> not_compared_;
  std::vector<int> sources_;  // the ranks that send
  Head head_;
  PageBuffer bytes_;
  bool is_whole_ = false;    // what bytes_ is
  uint64_t done_bytes_ = 0;  // what is behind it is due

  // The chunk under way, or the last one.
  Communicator* gathers_it_ = nullptr;  // null: it isn't under way
  uint64_t chunk_begin_ = 0;
  size_t chunk_bytes_ = 0;
  size_t stripe_bytes_ = 0;
  ChunkWord word_;                // this rank's
  std::vector<ChunkWord> words_;  // of all ranks
  Work words_gathered_;
  Work stripes_gathered_;
  uint64_t last_begin_ = 0;  // of the last one that was gathered
  int bad_source_ = -1;      // in that one, here
  int failures_ = 0;         // of the only source that is left

  std::vector<HeardStep> steps_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_STATE_TRANSFER_H_
