// When checkpoints are taken, and that all ranks take part in each.
//
// A checkpoint of step s begins right after s was applied, on every rank: each copies its share of
// the state and writes it in the background. With every further step the ranks tell each other, in
// a sum that rides with the reduction, how far they are. Once all have written and synced theirs,
// rank 0 commits it, also in the background. As that takes an exchange of a later step, s is stable
// by then. One is taken at a time; what falls due meanwhile is one checkpoint right after it. What
// goes wrong costs the checkpoint and a warning, never the run.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_CHECKPOINTER_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_CHECKPOINTER_H_

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "elastic/checkpoint/background.h"
#include "elastic/checkpoint/store.h"
#include "elastic/lineage.h"
#include "elastic/state.h"

namespace closeranks::elastic {

// Of one rank, or summed over all.
struct CheckpointWord {
  double wanted = 0;   // a checkpoint of this step
  double written = 0;  // the rank's part of the one that was begun
  double failed = 0;
  double committed = 0;
  double superseded = 0;  // another start of the run took over
};

// What a new start of a run goes on from.
struct Resume {
  enum class Kind { kNewest, kNothing, kStep };
  Kind kind = Kind::kNewest;
  StepNumber step = 0;  // of kStep
};

// Which of `ranks` writes which piece, by index: about the same number of bytes each. The same on
// every rank, wherever the lengths of opaque pieces differ.
std::vector<int> DivideOverRanks(std::span<const Piece> pieces, int ranks);

// Used by the training thread.
class Checkpointer {
 public:
  struct Options {
    StepNumber every = 0;  // 0: only when asked, and at the end of the run
    int keep = 2;
    // A disk that takes longer for this rank's part, or for the commit, costs the checkpoint.
    Duration timeout = std::chrono::minutes(10);
    Resume resume = {};
    std::string run = {};  // see Manifest
    // Whether somebody asked for a checkpoint since the last call.
    std::function<bool()> asked = {};
    std::function<int64_t()> seconds_since_1970 = {};
  };
  // How a start of the run begins.
  struct Beginning {
    Lineage lineage;
    std::optional<StoredState> state;  // none: from nothing
  };

  // `background` and `clock` outlive it.
  Checkpointer(CheckpointStore store, Background& background, const Clock& clock, Options options);

  // On one rank, which gives the result to all others: finds the newest checkpoint that verifies,
  // saying why those before it don't, and begins a lineage there. kInvalidArgument when there is
  // none that can be used, but some that should be. Another start of the run that still lives may
  // remove what is just being read: then it chooses again, and kUnavailable when that goes on.
  Result<Beginning> Begin() const;
  // Before the first step; number 0 until then.
  void SetLineage(const Lineage& lineage) { lineage_ = lineage; }
  const Lineage& lineage() const { return lineage_; }

  // This rank takes part in another world. A checkpoint that wasn't finished is taken anew.
  void OnWorld(Generation generation, int rank, int size);
  // To be summed over all ranks, in the exchange that is to apply `step`; or `at_end` of the run,
  // again and again, until it isn't busy.
  CheckpointWord Word(StepNumber step, bool at_end = false);
  // The sum, on every rank, once `step` is applied and `state` is the one after it; null while some
  // rank has none yet: what falls due is taken later.
  // kStaleGeneration when another start took over: this run's further steps are void.
  Status Heard(const CheckpointWord& sum, StepNumber step, int epoch, StateOwner* state);
  // Heard() has said so.
  bool superseded() const { return superseded_; }
  // Of a checkpoint that was begun and is neither committed nor given up. The same on every rank.
  bool busy() const { return attempt_ != nullptr; }
  // This rank's disk has something to do for it.
  bool is_writing() const { return attempt_ != nullptr && attempt_->is_at_work; }
  // For about a second.
  void AwaitDisk() { (void)background_.AwaitIdle(); }

 private:
  // One checkpoint, as the training thread and the background see it.
  struct Attempt {
    Manifest manifest;
    std::vector<std::string> names;  // of all pieces
    // The training thread's.
    bool commit_begun = false;
    TimePoint work_begun{};
    std::atomic<bool> is_at_work{false};  // in the background
    std::atomic<bool> written{false};
    std::atomic<bool> failed{false};
    std::atomic<bool> committed{false};
    std::atomic<bool> superseded{false};
  };
  using AttemptRef = std::shared_ptr<Attempt>;

  // Nothing: what it had chosen was removed meanwhile. `before`: as in Candidates().
  Result<std::optional<Beginning>> TryToBegin(int64_t* before) const;
  // Ok when a run may begin from nothing.
  Status MayBeginFromNothing() const;
  void Start(StepNumber step, int epoch, StateOwner& state);
  void StartCommit();
  // `work` of attempt_, in the background.
  void StartWork(std::function<void(Attempt&)> work);
  void GiveUpWhatTakesTooLong();

  CheckpointStore store_;
  Background& background_;
  const Clock& clock_;
  Options options_;
  Lineage lineage_;
  bool superseded_ = false;
  Generation generation_ = 0;
  int rank_ = -1;
  int size_ = 0;
  AttemptRef attempt_;
  AttemptRef hanging_;      // the newest that took too long here
  StepNumber settled_ = 0;  // the newest step whose checkpoint was committed or given up
  bool wished_ = false;     // by this rank
  bool due_ = false;        // as all ranks know
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_CHECKPOINTER_H_
