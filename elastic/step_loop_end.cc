// How a rank ends: with the others at the run's end, or leaving them in the middle of it.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "elastic/audit.h"
#include "elastic/step_loop.h"
#include "glog/logging.h"

namespace closeranks::elastic {
namespace {

constexpr Duration kSlowDisk = std::chrono::seconds(10);

// `hashes` are the ranks' own. kMismatch says which ranks have which.
Status SameWeights(const std::vector<uint64_t>& hashes) {
  const std::string text = WhoHasWhat(hashes);
  if (text.empty()) return OkStatus();
  return Mismatch("the ranks were trained to different weights: " + text +
                  "; an update must be the same everywhere: look for a learning rate, an option "
                  "or a random number that is set on some ranks only");
}

}  // namespace

Status StepLoop::Finish() {
  while (!ended_) {
    // Who comes back to a world that makes its last step again is listening, whatever it has.
    if (newest() < batches_.steps()) {
      return Internal("the run is not at its end: step " + std::to_string(newest()) + " of " +
                      std::to_string(batches_.steps()));
    }
    Status passed = CompareWeights();
    if (passed.ok()) passed = TakeFinalCheckpoint();
    if (passed.ok()) {
      options_.report_done(gate_.state());
    } else if (WorldIsChanging(passed)) {
      options_.report_failure(world_->world.generation, passed);
    } else {
      return passed;
    }
    RETURN_IF_ERROR(EnterNextWorld());
  }
  if (!gate_.HoldsTheEnd()) {
    return Aborted("the job ended without this worker, which doesn't hold what it came to");
  }
  return OkStatus();
}

Status StepLoop::CompareWeights() {
  SetActivity(telemetry::Activity::kEnding);
  Communicator& communicator = *world_->communicator;
  const uint64_t mine = replica_.WeightsHash();
  std::vector<uint64_t> hashes(static_cast<size_t>(communicator.size()));
  RETURN_IF_ERROR(communicator.AllGather(&mine, hashes.data(), 1, DataType::kInt64).Wait());
  // Everyone who has come here holds the last step.
  RETURN_IF_ERROR(ledger_.Stable(batches_.steps()));
  Status compared = SameWeights(hashes);
  // Nobody leaves before the others know it too: those would go on without the one that left, and
  // find themselves equal. Whatever comes of the barrier, the ranks differ.
  if (!compared.ok()) (void)communicator.Barrier().Wait();
  return compared;
}

Status StepLoop::TakeFinalCheckpoint() {
  Checkpointer* checkpointer = options_.checkpointer;
  if (checkpointer == nullptr) return OkStatus();
  const StepNumber step = gate_.state().applied;
  // What it has of the samples is in the ledgers before it is committed.
  RETURN_IF_ERROR(ledger_.Stable(step));
  // A later start begins from this one's checkpoint, though it may have made no step of its own.
  RETURN_IF_ERROR(ledger_.WriteLineage());
  const TimePoint begun = clock_.Now();
  bool is_said = false;
  do {
    checkpointer->AwaitDisk();
    const bool is_slow = checkpointer->is_writing() && clock_.Now() - begun > kSlowDisk;
    if (is_slow && !std::exchange(is_said, true)) {
      LOG(INFO) << "waits for the disk: the last checkpoint, of step " << step
                << ", isn't written yet";
    }
    CheckpointWord word = checkpointer->Word(step, /*at_end=*/true);
    const Status told = world_->communicator
                            ->AllReduce(&word, &word, sizeof(word) / sizeof(double),
                                        DataType::kFloat64, Reduction::kSum)
                            .Wait();
    if (!told.ok()) {
      LOG(WARNING) << "the last checkpoint, of step " << step
                   << ", isn't committed yet: " << told.message()
                   << "; those who are left, if any, take it again";
      return told;
    }
    RETURN_IF_ERROR(checkpointer->Heard(word, step, batches_.Get(step).epoch, &run_state_));
  } while (checkpointer->busy());
  // Nobody goes before the others know it too: they would take it again without the one that left.
  // Who doesn't come through the barrier knows it.
  (void)world_->communicator->Barrier().Wait();
  return OkStatus();
}

// Another start of the run took over, and no other world makes that good.
bool StepLoop::IsSuperseded() const {
  return options_.checkpointer != nullptr && options_.checkpointer->superseded();
}

// A world without the leaver goes on from the greatest step of those who stay: had one of them not
// applied this step yet, they would compute it again. So nobody goes before everyone has it.
Status StepLoop::HandOver(bool is_leaver, bool all_leave) {
  Status held = world_->communicator->Barrier().Wait();
  // Nobody would be left to go on from.
  if (held.ok() && all_leave) held = TakeFinalCheckpoint();
  if (!held.ok()) {
    if (!WorldIsChanging(held)) return held;
    options_.report_failure(world_->world.generation, held);
    return is_leaver ? EnterNextWorld() : OkStatus();
  }
  if (is_leaver) Go();
  // But for who listens, everyone holds it.
  return transfer_.active() ? OkStatus() : ledger_.Stable(gate_.state().applied);
}

bool StepLoop::Leaves() const { return options_.leaves != nullptr && options_.leaves(); }

void StepLoop::Go() {
  handed_over_ = true;
  options_.report_leaving();
}

}  // namespace closeranks::elastic
