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
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "elastic/checkpoint/beginning.h"
#include "elastic/checkpoint/store.h"
#include "elastic/lineage.h"
#include "elastic/state.h"
#include "net/background.h"

namespace closeranks::elastic {

// Of one rank, or summed over all.
struct CheckpointWord {
  double wanted = 0;   // a checkpoint of this step
  double written = 0;  // the rank's part of the one that was begun
  double failed = 0;
  double committed = 0;
  double superseded = 0;  // another start of the run took over
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
    // A disk that takes longer for this rank's part, or for the commit, costs the checkpoint; one
    // that takes longer to read it, the start.
    Duration timeout = std::chrono::minutes(10);
    Resume resume = {};
    std::string run = {};  // see Manifest
    // Whether somebody asked for a checkpoint since the last call.
    std::function<bool()> asked = {};
    std::function<int64_t()> seconds_since_1970 = {};
  };

  // `background` and `clock` outlive it.
  Checkpointer(CheckpointStore store, net::Background& background, const Clock& clock,
               Options options);

  // What the records of the steps up to a checkpoint lie in is synced by this before it is
  // committed, in the background, on rank 0. Before the first world.
  void SyncBeforeCommit(std::function<Status()> sync_records) {
    sync_records_ = std::move(sync_records);
  }

  // On one rank, which gives the result to all others: chooses how the run begins, in the
  // background, from the first call on, and waits for that for about a second. True once
  // beginning() has the result, or nothing is to begin any more; it stays until SetLineage, so
  // that the next world doesn't read again where this rank is the one again. kTimeout after
  // Options::timeout.
  bool AwaitBeginning();
  std::shared_ptr<const Result<Beginning>> beginning() const;
  // Another rank is to choose. It may once this is true on all others, as of two that begin a
  // lineage the later one counts; false, after about a second: this one is still at it. kTimeout as
  // above.
  Result<bool> ForgetBeginning();
  // Before the first step; number 0 until then.
  void SetLineage(const Lineage& lineage);
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
  // How the run begins: written in the background until is_through.
  struct Reading {
    TimePoint begun{};
    Generation generation = 0;  // the last that waited for it
    std::optional<Result<Beginning>> result;
    std::atomic<bool> is_through{false};
  };

  // True: reading_ is through.
  bool AwaitReading();
  void Start(StepNumber step, int epoch, StateOwner& state);
  void StartCommit();
  // `work` of attempt_, in the background.
  void StartWork(std::function<void(Attempt&)> work);
  void GiveUpWhatTakesTooLong();

  CheckpointStore store_;
  net::Background& background_;
  const Clock& clock_;
  Options options_;
  std::function<Status()> sync_records_;
  Lineage lineage_;
  std::shared_ptr<Reading> reading_;
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
