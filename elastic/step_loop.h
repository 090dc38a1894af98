// The elastic step: what a rank does from one optimizer update to the next, and when the world
// changes in between.
//
//   NextStep -> compute each of todo() -> Commit -> NextStep ...
//
// Commit either applies the step or, when the world changed, leaves the same step open with the
// parts that are now this rank's to compute; the next NextStep hands them out. The training thread
// drives it; all waiting happens in NextStep, Commit and Finish.
#ifndef CLOSERANKS_ELASTIC_STEP_LOOP_H_
#define CLOSERANKS_ELASTIC_STEP_LOOP_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "elastic/audit.h"
#include "elastic/catch_up.h"
#include "elastic/checkpoint/checkpointer.h"
#include "elastic/ledger.h"
#include "elastic/parts.h"
#include "elastic/replica.h"
#include "elastic/state.h"
#include "elastic/state_transfer.h"
#include "elastic/step_gate.h"
#include "elastic/straggler.h"
#include "telemetry/flight_recorder.h"

namespace closeranks::elastic {

// The global batch of each step: a function of the step alone.
class BatchSource {
 public:
  struct Batch {
    int epoch = 0;                 // from 1
    std::span<const int64_t> ids;  // samples by position; valid until the next call
  };
  virtual ~BatchSource() = default;
  virtual Batch Get(StepNumber step) = 0;
  virtual StepNumber steps() const = 0;  // of the whole run
};

// What an observer is told; all calls come from the training thread.
class StepObserver {
 public:
  struct StepInfo {
    StepNumber step = 0;
    int epoch = 0;
    int samples = 0;    // in the global batch
    double loss = 0.0;  // mean over the global batch; only once committed
    const ConnectedWorld* world = nullptr;
  };
  // How this rank came into a world; who joins comes into it once it has the state.
  struct Entry {
    StepNumber resumed_from = 0;
    TimePoint asked{};  // it had no more to do in the world before
    // It stood still while the state went to who needed all of it; TimePoint{}: it didn't.
    TimePoint transfer_begin{};
    TimePoint transfer_end{};
    TimePoint entered{};  // it may compute
  };
  virtual ~StepObserver() = default;
  virtual void OnWorld(const ConnectedWorld& world, const Entry& entry) = 0;
  // This rank was the one that needed it.
  virtual void OnTransfer(const ConnectedWorld& world, size_t bytes, TimePoint begin,
                          TimePoint end) = 0;
  virtual void OnStepBegin(const StepInfo& info) = 0;
  virtual void OnCommit(const StepInfo& info) = 0;
};

class StepLoop {
 public:
  struct Options {
    int logical_shards = 0;  // exact mode; 0: fast mode
    // Tells the agent that an operation of `generation` failed, so that a new one is agreed on.
    std::function<void(Generation generation, const Status& why)> report_failure;
    // Is told what the training thread is about; or null. Outlives the loop.
    telemetry::FlightRecorder* flight = nullptr;
    // Tells the agent that this worker has applied everything.
    std::function<void(rendezvous::WorkerState)> report_done;
    // Besides the replica, with the prefixes of their pieces' names. They outlive the loop.
    std::vector<std::pair<std::string, StateOwner*>> owners = {};
    // Null: no checkpoints. Outlives the loop.
    Checkpointer* checkpointer = nullptr;
    // Tells the agent that this worker steps in the world of `generation`. Null: nobody leaves.
    std::function<void(Generation generation)> report_entered = nullptr;
    // Whether this worker was told to leave.
    std::function<bool()> leaves = nullptr;
    // Tells the agent that it may go: everyone has what it has. It computes nothing any more.
    std::function<void()> report_leaving = nullptr;
    // Compares the state of all ranks after every so many steps, the same on each; 0: never.
    StepNumber audit_every = 0;
    // This rank computes so many times as long as the others. Null: nobody wants to know.
    std::function<void(StepNumber step, double slowness)> report_slow = nullptr;
    // Of the state on its way to who joins, with each step; more of it when there is much.
    size_t least_chunk_bytes = size_t{64} << 10;
  };

  // Everything outlives the loop.
  StepLoop(StepGate& gate, Replica& replica, BatchSource& batches, Ledger ledger,
           StepObserver& observer, const Clock& clock, Options options);

  // Waits for a world where there is none. False when every step of the run is applied, or the job
  // has ended. Errors end the run: kStaleGeneration (replaced), kTimeout (the members did not
  // come), kMismatch, kUnavailable (the supervisor, the quorum or the state is gone), kAborted (it
  // has left), kInternal.
  Result<bool> NextStep();

  // What is to be computed now, and how.
  StepNumber step() const { return step_; }
  int epoch() const { return epoch_; }
  int batch() const { return batch_; }
  const Parts& todo() const { return todo_; }
  std::span<const int64_t> SamplesOf(const Part& part) const;
  // Part `index` of todo() is about to be computed: first PreparePart, if it has samples, then
  // BeginPart before its gradients come, and EndPart.
  void PreparePart(size_t index);
  void BeginPart(size_t index);
  // `mean_loss` is the mean over the part's samples.
  void EndPart(size_t index, double mean_loss);

  // See above; whether the step was applied. The errors are those of NextStep. Every part of todo()
  // must have been computed.
  Result<bool> Commit();

  // After NextStep returned false: waits until every rank is through and the job's end is agreed
  // on. kAborted when the job ended without this worker: it doesn't hold the result.
  // kMismatch, on every rank, when they didn't all come to the same weights.
  Status Finish();

 private:
  enum class Outcome { kApplied, kWorldChanged };
  struct StepNumbers;

  Status ReduceUntilApplied();

  // Takes part in `world`, `asked` for when it says: exchange, catch-up, transfer; sets what is to
  // be computed.
  Status EnterWorld(std::shared_ptr<const ConnectedWorld> world, TimePoint asked);
  void SetActivity(telemetry::Activity activity);
  // Blocks until this rank takes part in a world other than the one that it is in. kOk with no
  // world when the job has ended.
  Status EnterNextWorld();
  // At the end of the run. Makes the last step stable; ok when all have the same weights.
  Status CompareWeights();
  Status SendReducedStep(const CatchUpPlan& plan);
  // At the run's beginning the source's whole state goes to everyone. `begun`: how that went, where
  // this rank is the source.
  Status SendState(const CatchUpPlan& plan, const Status& begun);
  // Later: the state is on its way to who needs it. `leaves`: this rank is about to go.
  // `was_behind`: it has just caught up.
  Status BeginTransfer(std::vector<bool> listeners, bool at_once, bool leaves, bool was_behind,
                       bool anew);
  // What is left of it, with all ranks, and its end.
  Status CompleteTransfer();
  // Who listened loads the state, applies what it heard, and is in the world.
  Status LoadTransferred();
  // After a step that was made while the state was on its way, or was loaded. `holders_stay`: of
  // those who have it, not all leave.
  Status AdvanceTransfer(bool holders_stay, bool settings_changed);
  // The newest step that this rank has, or has on its way.
  StepNumber newest() const {
    return transfer_.listens() ? transfer_.heard().applied : gate_.state().applied;
  }
  // Nothing was trained yet: waits until the source, whose state is the one that counts, knows
  // where the run begins. Reading a checkpoint may take longer than an operation's deadline.
  Status AwaitBeginning(const CatchUpPlan& plan);
  // At the source, then.
  Status BeginRun();
  // The state of `state.applied`, from elsewhere. All or nothing.
  Status TakeState(std::span<const Piece> pieces, const rendezvous::WorkerState& state,
                   const Lineage& lineage);
  void SetLineage(const Lineage& lineage);
  // With all ranks, which hold the same step: the last checkpoint before they end. Errors are the
  // communicator's.
  Status TakeFinalCheckpoint();
  Status PrepareStep(const CatchUpPlan& plan, int rank);
  // The ranks that compute: all but those that only listen, and spares; the latter too where they
  // hold parts of the open step, from when they were none.
  std::vector<int> Computing(std::span<const Parts> held = {}) const;
  // By rank, of a step of which nobody holds anything.
  std::vector<Parts> UndisturbedParts() const;
  // What each rank is to compute, by rank, beside what it holds.
  void TakeParts(std::vector<Parts> parts, std::span<const Parts> held = {});
  void OpenStep(StepNumber step);
  // By what to reduce the open step; once for each world that it is open in.
  void BeginReduction();
  Result<Outcome> ReduceAndApply();
  // The open step's gradients, samples and numbers, and a chunk of a state on its way.
  Status Reduce(StepSamples* samples, StepNumbers* numbers);
  Result<Outcome> OrWorldChanged(const Status& failed);
  Status AuditState();
  Status AuditState(const LeftOut& left_out);
  void NotePace();
  // The update itself, and the bookkeeping: the history's hash, the ledger. Within the gate.
  Status ApplyReduced(StepNumber step, Generation generation, const StepSamples& samples);
  // Some rank leaves after the step that was just applied, and maybe this one. Where all leave,
  // they take a checkpoint before.
  Status HandOver(bool is_leaver, bool all_leave);
  // The same where this rank leaves and has just come into a world.
  Status GoBeforeTheStep(const CatchUpPlan& plan, bool all_leave);
  bool Leaves() const;
  // Computes nothing any more.
  void Go();
  bool IsSuperseded() const;
  // True when the error means that the world is changing, not that the run is broken.
  bool WorldIsChanging(const Status& status) const;
  // An error of a disk or of the program, which no other world makes good whatever its code says.
  Status InEveryWorld(const Status& failed) const;

  StepGate& gate_;
  Replica& replica_;
  RunState run_state_;  // the replica's and that of the other owners
  BatchSource& batches_;
  Ledger ledger_;
  StepObserver& observer_;
  const Clock& clock_;
  Options options_;

  std::shared_ptr<const ConnectedWorld> world_;  // the one that this rank takes part in
  bool ended_ = false;
  bool handed_over_ = false;  // and waits for the world without it

  // The open step.
  StepNumber step_ = 0;
  bool reduction_begun_ = false;
  int epoch_ = 0;
  int batch_ = 0;
  std::vector<int64_t> ids_;
  Parts todo_;  // mine, not computed yet when the step was handed out
  Parts held_;  // mine, computed
  std::vector<int> shard_owners_;
  double loss_ = 0.0;  // of the held parts, weighted by their share of the batch
  StepSamples my_samples_;
  std::vector<double> beside_;  // what is summed beside the gradients
  TimePoint handed_out_{};
  int paced_samples_ = 0;
  Pace pace_;
  StragglerWatch straggler_watch_;

  // The newest applied step's samples, for who is one behind.
  StepSamples applied_samples_;
  // The step whose reduced gradients the replica keeps; 0: none.
  StepNumber kept_step_ = 0;

  StateTransfer transfer_;
  uint64_t settings_ = 0;  // the replica's, as its copy has them, or the newest update left them
  TimePoint listening_since_{};
  std::vector<std::string> sent_lines_;  // of the sources' ledgers
  double global_loss_ = 0.0;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_STEP_LOOP_H_
