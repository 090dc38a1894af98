#include "elastic/step_loop.h"

#include <array>
#include <cstdio>
#include <map>
#include <utility>

#include "glog/logging.h"

namespace closeranks::elastic {
namespace {

using telemetry::Activity;

// `hashes` are the ranks' own. kMismatch says which ranks have which.
Status SameWeights(const std::vector<uint64_t>& hashes) {
  std::map<uint64_t, std::string> ranks;
  for (size_t rank = 0; rank < hashes.size(); ++rank) {
    std::string& list = ranks[hashes[rank]];
    list += (list.empty() ? "" : ",") + std::to_string(rank);
  }
  if (ranks.size() == 1) return OkStatus();
  std::string text;
  for (const auto& [hash, list] : ranks) {
    std::array<char, 17> digits;
    std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash));
    text += (text.empty() ? "" : ", ") + std::string("rank ") + list + " has " + digits.data();
  }
  return Mismatch("the ranks were trained to different weights: " + text +
                  "; an update must be the same everywhere: look for a learning rate, an option "
                  "or a random number that is set on some ranks only");
}

// What is summed over the ranks with each step, besides gradients and samples.
struct StepNumbers {
  double loss = 0;
  double leavers = 0;
  double settings_changed = 0;  // the program did it: who only hears the steps can't make this one
  CheckpointWord checkpoint = {};
};
constexpr size_t kStepNumbers = sizeof(StepNumbers) / sizeof(double);

}  // namespace

StepLoop::StepLoop(StepGate& gate, Replica& replica, BatchSource& batches, Ledger ledger,
                   StepObserver& observer, const Clock& clock, Options options)
    : gate_(gate),
      replica_(replica),
      batches_(batches),
      ledger_(std::move(ledger)),
      observer_(observer),
      clock_(clock),
      options_(std::move(options)),
      transfer_(options_.least_chunk_bytes) {
  run_state_.Add("", replica_);
  for (const auto& [prefix, owner] : options_.owners) run_state_.Add(prefix, *owner);
}

Result<bool> StepLoop::NextStep() {
  while (true) {
    // Who has the only state is still listed in the next world, and is its source.
    while (!ended_ && (world_ == nullptr || handed_over_)) RETURN_IF_ERROR(EnterNextWorld());
    if (ended_ || newest() >= batches_.steps()) return false;
    if (step_ != newest() + 1) {
      OpenStep(newest() + 1);
      // Nobody holds anything of a step that nobody has begun: the undisturbed division.
      const Division division{batch_, options_.logical_shards};
      const std::vector<int> computing = Computing();
      const std::vector<Parts> parts =
          OfRanks(computing, world_->world.size(),
                  DivideBatch(division, static_cast<int>(computing.size())));
      todo_ = parts[world_->rank];
      shard_owners_ = ShardOwners(division, parts);
    }
    BeginReduction();
    if (!transfer_.listens()) break;
    RETURN_IF_ERROR(ReduceUntilApplied());
  }
  observer_.OnStepBegin({step_, epoch_, batch_, global_loss_, world_.get()});
  SetActivity(Activity::kComputing);
  return true;
}

std::span<const int64_t> StepLoop::SamplesOf(const Part& part) const {
  return std::span(ids_).subspan(part.begin, part.size());
}

void StepLoop::BeginPart(size_t index) {
  // An empty part has no backward pass by which the reduction could begin early.
  bool last = index + 1 == todo_.size() && todo_[index].size() > 0;
  replica_.BeginPart(step_, todo_[index], last);
}

void StepLoop::EndPart(size_t index, double mean_loss) {
  replica_.EndPart();
  const Part& part = todo_[index];
  held_.push_back(part);
  loss_ += mean_loss * part.size() / batch_;
  for (int i = part.begin; i < part.end; ++i) my_samples_.Put(i, ids_[i]);
}

Status StepLoop::Commit() {
  todo_.clear();
  const Status committed = ReduceUntilApplied();
  SetActivity(Activity::kBetween);
  return committed;
}

Status StepLoop::ReduceUntilApplied() {
  while (true) {
    ASSIGN_OR_RETURN(Outcome outcome, ReduceAndApply());
    if (outcome == Outcome::kApplied) return OkStatus();
    StepNumber open_step = step_;
    RETURN_IF_ERROR(EnterNextWorld());
    if (ended_ || newest() >= open_step) return OkStatus();       // caught up with it
    if (step_ != open_step || !todo_.empty()) return OkStatus();  // there is more to compute
    BeginReduction();
  }
}

Status StepLoop::Finish() {
  while (!ended_) {
    if (gate_.state().applied < batches_.steps()) {
      return Internal("the run is not at its end: step " + std::to_string(gate_.state().applied) +
                      " of " + std::to_string(batches_.steps()));
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
  SetActivity(Activity::kEnding);
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
  do {
    checkpointer->AwaitDisk();
    StepNumbers numbers;
    numbers.checkpoint = checkpointer->Word(step, /*at_end=*/true);
    RETURN_IF_ERROR(
        world_->communicator
            ->AllReduce(&numbers, &numbers, kStepNumbers, DataType::kFloat64, Reduction::kSum)
            .Wait());
    RETURN_IF_ERROR(
        checkpointer->Heard(numbers.checkpoint, step, batches_.Get(step).epoch, &run_state_));
  } while (checkpointer->busy());
  return OkStatus();
}

void StepLoop::SetActivity(Activity activity) {
  if (options_.flight != nullptr) options_.flight->SetActivity(activity, step_);
}

bool StepLoop::WorldIsChanging(const Status& status) const {
  switch (status.code()) {
    case StatusCode::kPeerLost:
    case StatusCode::kStaleGeneration:
    case StatusCode::kAborted:
    case StatusCode::kTimeout:
    case StatusCode::kUnavailable:
      return true;
    default:
      return false;
  }
}

void StepLoop::OpenStep(StepNumber step) {
  BatchSource::Batch batch = batches_.Get(step);
  step_ = step;
  epoch_ = batch.epoch;
  batch_ = static_cast<int>(batch.ids.size());
  ids_.assign(batch.ids.begin(), batch.ids.end());
  held_.clear();
  todo_.clear();
  loss_ = 0.0;
  my_samples_ = StepSamples(batch_);
  reduction_begun_ = false;
  replica_.BeginStep(step);
}

void StepLoop::BeginReduction() {
  if (std::exchange(reduction_begun_, true)) return;
  replica_.BeginReduction(world_->communicator, shard_owners_);
}

Result<StepLoop::Outcome> StepLoop::ReduceAndApply() {
  SetActivity(Activity::kReducing);
  StepSamples samples = my_samples_;
  // Everyone is to know that somebody leaves after this step. After the last all do.
  const bool leaves = step_ < batches_.steps() && Leaves();
  StepNumbers numbers{.loss = loss_, .leavers = leaves ? 1.0 : 0.0};
  Checkpointer* checkpointer = options_.checkpointer;
  if (checkpointer != nullptr) numbers.checkpoint = checkpointer->Word(step_);
  const bool was_complete = transfer_.complete();
  if (transfer_.active() && !transfer_.listens() && !was_complete) {
    numbers.settings_changed = replica_.SettingsHash() != settings_ ? 1 : 0;
  }
  Communicator& communicator = *world_->communicator;
  replica_.StartReduction();
  Work samples_work = communicator.AllReduce(samples.numbers(), samples.numbers(), samples.count(),
                                             DataType::kInt64, Reduction::kSum);
  Work numbers_work =
      communicator.AllReduce(&numbers, &numbers, kStepNumbers, DataType::kFloat64, Reduction::kSum);
  if (transfer_.active() && !was_complete) transfer_.StartChunk(communicator);
  // All are waited for, whatever comes of them: their memory must not be written after this.
  Status reduced = replica_.FinishReduction();
  for (Work* work : {&samples_work, &numbers_work}) {
    Status status = work->Wait();
    if (reduced.ok()) reduced = status;
  }
  if (transfer_.active() && !was_complete) {
    Status status = transfer_.FinishChunk();
    if (reduced.ok()) reduced = status;
  }
  const Generation generation = world_->world.generation;
  if (!reduced.ok()) {
    if (!WorldIsChanging(reduced)) return reduced;
    options_.report_failure(generation, reduced);
    return Outcome::kWorldChanged;
  }
  // Everyone has contributed to this step, so everyone holds the one before: but for who listens.
  if (!transfer_.active()) RETURN_IF_ERROR(ledger_.Stable(step_ - 1));
  global_loss_ = numbers.loss;
  if (transfer_.listens()) {
    transfer_.Hear(step_, generation, samples, replica_.ReducedGradients(step_));
  } else {
    if (!gate_.BeginApply(generation)) return Outcome::kWorldChanged;
    RETURN_IF_ERROR(ApplyReduced(step_, generation, samples));
    observer_.OnCommit({step_, epoch_, batch_, global_loss_, world_.get()});
  }
  if (transfer_.active()) {
    Status advanced =
        AdvanceTransfer(was_complete, numbers.leavers > 0, numbers.settings_changed > 0);
    if (!advanced.ok()) {
      if (!WorldIsChanging(advanced)) return advanced;
      options_.report_failure(generation, advanced);
      return Outcome::kWorldChanged;
    }
  }
  if (checkpointer != nullptr) {
    RETURN_IF_ERROR(checkpointer->Heard(numbers.checkpoint, step_, epoch_,
                                        transfer_.active() ? nullptr : &run_state_));
  }
  if (numbers.leavers > 0) {
    RETURN_IF_ERROR(HandOver(leaves, /*all_leave=*/numbers.leavers == communicator.size()));
  }
  return Outcome::kApplied;
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
  return ledger_.Stable(step_);
}

bool StepLoop::Leaves() const { return options_.leaves != nullptr && options_.leaves(); }

void StepLoop::Go() {
  handed_over_ = true;
  options_.report_leaving();
}

Status StepLoop::ApplyReduced(StepNumber step, Generation generation, const StepSamples& samples) {
  rendezvous::WorkerState state = gate_.state();
  auto ids = samples.Ids();
  if (!ids.ok()) {
    gate_.EndApply(state);
    return ids.status().WithContext("step " + std::to_string(step));
  }
  SetActivity(Activity::kApplying);
  replica_.Apply(step);
  applied_samples_ = samples;
  reduced_step_ = step;
  if (transfer_.active()) settings_ = replica_.SettingsHash();
  state = StateAfter(state, step, generation, samples);
  ledger_.Applied(step, generation, batches_.Get(step).epoch, *ids);
  gate_.EndApply(state);
  return OkStatus();
}

}  // namespace closeranks::elastic
