// Where the training thread and the world's changes meet.
//
// The training thread asks the gate for the world to step in, and for permission to apply a step.
// The loop's thread shuts the gate when a new generation is being agreed on, and opens it with the
// new world. Between the two nothing is applied here: that is what the promise of this member's
// acceptor rests on.
#ifndef CLOSERANKS_ELASTIC_STEP_GATE_H_
#define CLOSERANKS_ELASTIC_STEP_GATE_H_

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/condition.h"
#include "base/status.h"
#include "collectives/communicator.h"
#include "rendezvous/decision.h"

namespace closeranks::elastic {

// A generation that this worker is listed in, with everything connected.
struct ConnectedWorld {
  rendezvous::DecisionRef decision;
  World world;
  int rank = -1;
  // So many ranks compute nothing, the last: they apply every step, and so have the state when one
  // of the others is lost.
  int spares = 0;
  std::shared_ptr<Communicator> communicator;
  // When this worker noticed a loss (TimePoint{}: it wasn't one), learnt the decision, was
  // connected.
  TimePoint detected{};
  TimePoint decided{};
  TimePoint rewired{};
};

// All calls are safe from any thread. One training thread; one loop thread.
class StepGate {
 public:
  using Frozen = std::function<void(rendezvous::WorkerState)>;

  StepGate(rendezvous::WorkerState initial, std::unique_ptr<Condition> changed)
      : changed_(std::move(changed)), state_(initial) {}

  // --- the loop's thread ---
  // Nothing is applied from now on until Open. `frozen` gets the state: at once, or from the
  // training thread at the end of the update that it is in the middle of. A later call replaces an
  // unanswered one. The open world's communicator is aborted with `why`.
  void Shut(Status why, Frozen frozen);
  // Ends the wait for a world. After End nothing opens any more.
  void Open(std::shared_ptr<const ConnectedWorld> world);
  // For good: the job came to its end in state `at` (ok), this process was replaced, the quorum is
  // lost.
  void End(Status why, rendezvous::WorkerState at = {});

  // --- the training thread ---
  // The open world; waits for one. After End: why it ended, or null when the job ended well.
  Result<std::shared_ptr<const ConnectedWorld>> Await();
  // As Await, but also returns once the open world is another than `generation`.
  Result<std::shared_ptr<const ConnectedWorld>> AwaitOtherThan(Generation generation);
  // Permission to apply a step that was reduced in `generation`; false when the world has changed.
  // True must be followed by EndApply.
  bool BeginApply(Generation generation);
  void EndApply(rendezvous::WorkerState state);
  rendezvous::WorkerState state() const;
  // After End(ok): whether this worker's state is the one that the job came to. A worker that was
  // left out may have gone another way.
  bool HoldsTheEnd() const;

 private:
  mutable std::mutex mutex_;
  const std::unique_ptr<Condition> changed_;
  std::shared_ptr<const ConnectedWorld> open_;  // null while shut
  std::optional<Status> ended_;
  rendezvous::WorkerState ended_at_;
  bool applying_ = false;
  Frozen frozen_;  // to be answered at the end of the update
  rendezvous::WorkerState state_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_STEP_GATE_H_
