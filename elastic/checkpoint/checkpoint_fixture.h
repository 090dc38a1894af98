// For tests of checkpoints: a state that is easily told from others, ranks that take part in
// checkpoints one step after the other, and a disk's work that is done when the test says so.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_CHECKPOINT_FIXTURE_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_CHECKPOINT_FIXTURE_H_

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/simulated_files.h"
#include "elastic/checkpoint/checkpointer.h"
#include "elastic/checkpoint/store.h"
#include "elastic/state.h"
#include "net/background.h"

namespace closeranks::elastic {

// To go through it: what a Result in a range-for refers to would be gone.
template <typename T>
T Value(Result<T> result) {
  return std::move(result).value();
}

// Tensors whose every byte depends on the step.
class StepState final : public StateOwner {
 public:
  explicit StepState(StepNumber step = 0) { Set(step); }
  void Set(StepNumber step);
  std::vector<Piece> Pieces() override;
  Result<std::function<void()>> PrepareLoad(std::span<const Piece> pieces) override;

 private:
  std::vector<std::string> bytes_;
};

// Whether `stored` is the whole state of the step that its manifest names.
bool IsStateOfItsStep(const StoredState& stored);

// Does nothing until it is told, or somebody waits.
class PendingWork final : public net::Background {
 public:
  void Start(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  bool AwaitIdle() override {
    DoAll();
    return true;
  }
  // The oldest task; false when there is none.
  bool DoOne();
  void DoAll();
  size_t size() const { return tasks_.size(); }

 private:
  std::deque<std::function<void()>> tasks_;
};

// A world of ranks that do nothing but take checkpoints, without a network.
class CheckpointWorld {
 public:
  CheckpointWorld(Files& files, std::string folder, Checkpointer::Options options = {});

  // As at the start of a run; its status. Sets step() to where it goes on from.
  Status Begin(int ranks);
  // See Checkpointer: on rank 0.
  void SyncBeforeCommit(std::function<Status()> sync_records) {
    ranks_[0].checkpointer->SyncBeforeCommit(std::move(sync_records));
  }
  // Another generation, of so many ranks; the first `joiners` of them are new processes.
  void Change(int ranks, int joiners = 0);
  // The exchange of the next step on every rank, and its update.
  Status Step();
  // As at the end of the run, with the disk's work done in between.
  Status Finish();
  // Lets every rank's disk do all of its work.
  void DoWork();

  StepNumber step() const { return step_; }
  const Lineage& lineage() const { return lineage_; }
  ManualClock& clock() { return *clock_; }
  PendingWork& work(int rank) { return *ranks_[static_cast<size_t>(rank)].work; }
  bool busy() const { return ranks_[0].checkpointer->busy(); }

 private:
  struct Rank {
    std::unique_ptr<PendingWork> work;
    std::unique_ptr<Checkpointer> checkpointer;
  };
  Rank MakeRank();
  Status Exchange(bool at_end);

  CheckpointStore store_;
  Checkpointer::Options options_;
  std::unique_ptr<ManualClock> clock_ = std::make_unique<ManualClock>();
  std::vector<Rank> ranks_;
  Lineage lineage_;
  Generation generation_ = 0;
  StepNumber step_ = 0;
  StepState state_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_CHECKPOINT_FIXTURE_H_
