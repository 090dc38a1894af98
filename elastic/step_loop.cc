#include "elastic/step_loop.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace closeranks::elastic {

using telemetry::Activity;

// What is summed over the ranks with each step, besides gradients and samples.
struct StepLoop::StepNumbers {
  double loss = 0;
  double leavers = 0;
  double holders_leaving = 0;   // of the leavers, who don't listen
  double settings_changed = 0;  // the program did it: who only hears the steps can't make this one
  Pace pace = {};
  CheckpointWord checkpoint = {};
};

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
  if (options_.checkpointer != nullptr) {
    // A checkpoint that outlives the machine presupposes the records of its steps.
    options_.checkpointer->SyncBeforeCommit(ledger_.MakeSync());
  }
}

Result<bool> StepLoop::NextStep() {
  while (true) {
    // Who has the only state is still listed in the next world, and is its source.
    while (!ended_ && (world_ == nullptr || handed_over_)) RETURN_IF_ERROR(EnterNextWorld());
    if (ended_ || newest() >= batches_.steps()) return false;
    if (step_ != newest() + 1) {
      OpenStep(newest() + 1);
      // Nobody holds anything of a step that nobody has begun.
      TakeParts(UndisturbedParts());
    }
    BeginReduction();
    if (!transfer_.listens()) break;
    pace_ = {};
    paced_samples_ = 0;
    RETURN_IF_ERROR(ReduceUntilApplied());
  }
  observer_.OnStepBegin({step_, epoch_, batch_, global_loss_, world_.get()});
  SetActivity(Activity::kComputing);
  handed_out_ = clock_.Now();
  return true;
}

std::span<const int64_t> StepLoop::SamplesOf(const Part& part) const {
  return std::span(ids_).subspan(part.begin, part.size());
}

void StepLoop::PreparePart(size_t index) {
  const Part& part = todo_[index];
  if (options_.flight != nullptr) {
    options_.flight->BeginPart(part.begin, part.end, SamplesOf(part));
  }
  replica_.PreparePart(step_, part);
}

void StepLoop::BeginPart(size_t index) {
  // An empty part has no backward pass by which the reduction could begin early.
  bool last = index + 1 == todo_.size() && todo_[index].size() > 0;
  replica_.BeginPart(step_, todo_[index], last);
}

void StepLoop::EndPart(size_t index, double mean_loss) {
  replica_.EndPart();
  if (options_.flight != nullptr) options_.flight->EndPart();
  const Part& part = todo_[index];
  held_.push_back(part);
  loss_ += mean_loss * part.size() / batch_;
  for (int i = part.begin; i < part.end; ++i) my_samples_.Put(i, ids_[i]);
}

Result<bool> StepLoop::Commit() {
  NotePace();
  todo_.clear();
  const StepNumber step = step_;
  const Status committed = ReduceUntilApplied();
  SetActivity(Activity::kBetween);
  RETURN_IF_ERROR(committed);
  return newest() >= step;
}

void StepLoop::NotePace() {
  paced_samples_ = 0;
  for (const Part& part : todo_) paced_samples_ += part.size();
  pace_ = Pace::Of(paced_samples_, clock_.Now() - handed_out_);
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
  const StepNumber step = step_;
  StepSamples samples = my_samples_;
  // Everyone is to know that somebody leaves after this step. After the last all do.
  const bool leaves = step < batches_.steps() && Leaves();
  StepNumbers numbers{.loss = loss_,
                      .leavers = leaves ? 1.0 : 0.0,
                      .holders_leaving = leaves && !transfer_.listens() ? 1.0 : 0.0,
                      .pace = pace_};
  Checkpointer* checkpointer = options_.checkpointer;
  if (checkpointer != nullptr) numbers.checkpoint = checkpointer->Word(step);
  // Who has loaded the state makes this step as everyone does.
  if (transfer_.active() && !transfer_.listens()) {
    numbers.settings_changed = replica_.SettingsHash() != settings_ ? 1 : 0;
  }
  const Generation generation = world_->world.generation;
  if (Status reduced = Reduce(&samples, &numbers); !reduced.ok()) return OrWorldChanged(reduced);
  // Everyone has contributed to this step, so everyone holds the one before: but for who listens.
  if (!transfer_.active()) RETURN_IF_ERROR(ledger_.Stable(step - 1));
  global_loss_ = numbers.loss;
  if (transfer_.listens()) {
    transfer_.Hear(step, generation, samples, replica_.ReducedGradients(step));
  } else {
    if (!gate_.BeginApply(generation)) return Outcome::kWorldChanged;
    RETURN_IF_ERROR(ApplyReduced(step, generation, samples));
    observer_.OnCommit({step, epoch_, batch_, global_loss_, world_.get()});
    const auto slowness = straggler_watch_.Heard(pace_, paced_samples_, numbers.pace);
    if (slowness.has_value() && options_.report_slow) options_.report_slow(step, *slowness);
  }
  if (transfer_.active()) {
    const auto holders_stay = static_cast<int>(numbers.holders_leaving) < transfer_.holders();
    Status advanced = AdvanceTransfer(holders_stay, numbers.settings_changed > 0);
    if (!advanced.ok()) return OrWorldChanged(advanced);
  }
  if (options_.audit_every > 0 && step % options_.audit_every == 0) RETURN_IF_ERROR(AuditState());
  if (checkpointer != nullptr) {
    RETURN_IF_ERROR(checkpointer->Heard(numbers.checkpoint, step, epoch_,
                                        transfer_.active() ? nullptr : &run_state_));
  }
  if (numbers.leavers > 0) {
    const bool all_leave = numbers.leavers == world_->world.size();
    RETURN_IF_ERROR(HandOver(leaves, all_leave));
  }
  return Outcome::kApplied;
}

Status StepLoop::Reduce(StepSamples* samples, StepNumbers* numbers) {
  Communicator& communicator = *world_->communicator;
  replica_.StartReduction();
  // One operation costs less than two. Sums of ids are exact in doubles.
  static_assert(std::is_trivially_copyable_v<StepNumbers>);
  constexpr size_t kNumbers = sizeof(StepNumbers) / sizeof(double);
  static_assert(kNumbers * sizeof(double) == sizeof(StepNumbers));
  beside_.resize(kNumbers + samples->count());
  std::memcpy(beside_.data(), numbers, sizeof(StepNumbers));
  std::copy_n(samples->numbers(), samples->count(), beside_.data() + kNumbers);
  Work work = communicator.AllReduce(beside_.data(), beside_.data(), beside_.size(),
                                     DataType::kFloat64, Reduction::kSum);
  // All are waited for, whatever comes of them: their memory must not be written after this.
  Status reduced = replica_.FinishReduction();
  Status status = work.Wait();
  if (reduced.ok()) reduced = status;
  status = transfer_.FinishChunk();
  if (reduced.ok()) reduced = status;
  RETURN_IF_ERROR(reduced);
  std::memcpy(static_cast<void*>(numbers), beside_.data(), sizeof(StepNumbers));
  std::copy_n(beside_.data() + kNumbers, samples->count(), samples->numbers());
  return OkStatus();
}

Result<StepLoop::Outcome> StepLoop::OrWorldChanged(const Status& failed) {
  if (!WorldIsChanging(failed)) return failed;
  options_.report_failure(world_->world.generation, failed);
  return Outcome::kWorldChanged;
}

bool StepLoop::WorldIsChanging(const Status& status) const {
  if (IsSuperseded()) return false;
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

Status StepLoop::InEveryWorld(const Status& failed) const {
  return WorldIsChanging(failed) ? InvalidArgument(failed.message()) : failed;
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
  kept_step_ = step;
  if (transfer_.active()) settings_ = replica_.SettingsHash();
  state = StateAfter(state, step, generation, samples);
  ledger_.Applied(step, generation, batches_.Get(step).epoch, *ids);
  gate_.EndApply(state);
  return OkStatus();
}

Status StepLoop::AuditState() {
  return AuditState(transfer_.active() ? transfer_.listeners() : LeftOut{});
}

Status StepLoop::AuditState(const LeftOut& left_out) {
  Status audited = Audit(*world_->communicator, run_state_, left_out);
  if (audited.ok() || !WorldIsChanging(audited)) {
    return audited.WithContext("after step " + std::to_string(newest()));
  }
  options_.report_failure(world_->world.generation, audited);
  return OkStatus();
}

void StepLoop::SetActivity(Activity activity) {
  if (options_.flight != nullptr) options_.flight->SetActivity(activity, step_);
}

}  // namespace closeranks::elastic
