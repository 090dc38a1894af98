#include "elastic/step_loop.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/random.h"
#include "elastic/audit.h"
#include "elastic/checkpoint/safetensors.h"
#include "glog/logging.h"

namespace closeranks::elastic {
namespace {

using telemetry::Activity;

// `hashes` are the ranks' own. kMismatch says which ranks have which.
Status SameWeights(const std::vector<uint64_t>& hashes) {
  const std::string text = WhoHasWhat(hashes);
  if (text.empty()) return OkStatus();
  return Mismatch("the ranks were trained to different weights: " + text +
                  "; an update must be the same everywhere: look for a learning rate, an option "
                  "or a random number that is set on some ranks only");
}

// What a transfer says before the state itself.
struct TransferHead {
  int64_t bytes = 0;    // of what follows
  int64_t failed = 0;   // it is no state, but why there is none
  int64_t samples = 0;  // numbers of the samples of its step; 0: they are recorded already
  rendezvous::WorkerState state;
  Lineage lineage;
};
static_assert(std::is_trivially_copyable_v<TransferHead>);

// What is summed over the ranks with each step, besides gradients and samples.
struct StepNumbers {
  double loss = 0;
  double leavers = 0;
  Pace pace = {};
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
      options_(std::move(options)) {
  run_state_.Add("", replica_);
  for (const auto& [prefix, owner] : options_.owners) run_state_.Add(prefix, *owner);
}

Result<bool> StepLoop::NextStep() {
  // Who has the only state is still listed in the next world, and is its source.
  while (!ended_ && (world_ == nullptr || handed_over_)) RETURN_IF_ERROR(EnterNextWorld());
  if (ended_ || gate_.state().applied >= batches_.steps()) return false;
  StepNumber next = gate_.state().applied + 1;
  if (step_ != next) {
    OpenStep(next);
    // Nobody holds anything of a step that nobody has begun: the undisturbed division.
    std::vector<Parts> division =
        DivideBatch({batch_, options_.logical_shards}, world_->world.size(), world_->spares);
    todo_ = division[world_->rank];
    shard_owners_ = ShardOwners({batch_, options_.logical_shards}, division);
  }
  BeginReduction();
  observer_.OnStepBegin({step_, epoch_, batch_, global_loss_, world_.get()});
  SetActivity(Activity::kComputing);
  handed_out_ = clock_.Now();
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
  NotePace();
  todo_.clear();
  const Status committed = ReduceUntilApplied();
  SetActivity(Activity::kBetween);
  return committed;
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
    if (ended_ || gate_.state().applied >= open_step) return OkStatus();  // caught up with it
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
    } else if (WorldIsChanging(passed) && !IsSuperseded()) {
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
        checkpointer->Heard(numbers.checkpoint, step, batches_.Get(step).epoch, run_state_));
  } while (checkpointer->busy());
  return OkStatus();
}

// Another start of the run took over, and no other world makes that good.
bool StepLoop::IsSuperseded() const {
  return options_.checkpointer != nullptr && options_.checkpointer->superseded();
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

Status StepLoop::EnterNextWorld() {
  while (true) {
    Generation current = world_ == nullptr ? 0 : world_->world.generation;
    TimePoint asked = clock_.Now();
    SetActivity(Activity::kAwaitingWorld);
    ASSIGN_OR_RETURN(std::shared_ptr<const ConnectedWorld> world, gate_.AwaitOtherThan(current));
    if (world == nullptr) {
      ended_ = true;
      // What the job came to is stable. Who was left out may have gone another way, with steps that
      // never happened.
      return gate_.HoldsTheEnd() ? ledger_.Stable(gate_.state().applied) : OkStatus();
    }
    Status entered = EnterWorld(std::move(world), asked);
    if (entered.ok()) return OkStatus();
    if (!WorldIsChanging(entered)) return entered;
    options_.report_failure(world_->world.generation, entered);
  }
}

Status StepLoop::EnterWorld(std::shared_ptr<const ConnectedWorld> world, TimePoint asked) {
  SetActivity(Activity::kCatchingUp);
  world_ = std::move(world);
  if (options_.checkpointer != nullptr) {
    options_.checkpointer->OnWorld(world_->world.generation, world_->rank, world_->world.size());
  }
  StepObserver::Entry entry{.asked = asked};
  rendezvous::WorkerState state = gate_.state();
  RankRecord mine{state, step_ == state.applied + 1 ? held_ : Parts{}, kept_step_ == state.applied};
  ASSIGN_OR_RETURN(std::vector<RankRecord> records, ExchangeRecords(*world_->communicator, mine));
  ASSIGN_OR_RETURN(CatchUpPlan plan, PlanCatchUp(*world_->decision, records));
  if (plan.AnyoneIs(Standing::kOneBehind)) RETURN_IF_ERROR(SendReducedStep(plan));
  Status begun;
  if (world_->decision->resume.applied == 0 && plan.source == world_->rank) begun = BeginRun();
  if (plan.AnyoneIs(Standing::kNeedsState)) {
    entry.transfer_begin = clock_.Now();
    RETURN_IF_ERROR(SendState(plan, begun));
    entry.transfer_end = clock_.Now();
  }
  RETURN_IF_ERROR(begun);
  RETURN_IF_ERROR(PrepareStep(plan, world_->rank));
  entry.resumed_from = gate_.state().applied;
  entry.entered = clock_.Now();
  if (options_.report_entered) options_.report_entered(world_->world.generation);
  observer_.OnWorld(*world_, entry);
  // Nothing of the step is computed here yet, and who was current has the one before.
  if (step_ == gate_.state().applied + 1 && held_.empty() && !plan.AnyoneIs(Standing::kOneBehind) &&
      Leaves()) {
    Go();
  }
  return OkStatus();
}

// A current rank's reduced gradients of the resumed step go to everyone; who is behind applies
// them.
Status StepLoop::SendReducedStep(const CatchUpPlan& plan) {
  Communicator& communicator = *world_->communicator;
  const rendezvous::WorkerState& resume = world_->decision->resume;
  const int source = plan.step_source;
  bool sends = world_->rank == source;
  bool behind = plan.standings[world_->rank] == Standing::kOneBehind;
  std::vector<Work> works;
  std::vector<std::string> discarded;
  for (const Buffer& buffer : replica_.ReducedGradients(resume.applied)) {
    void* data = buffer.data;
    if (!sends && !behind) {
      discarded.emplace_back(buffer.count * SizeOf(buffer.type), '\0');
      data = discarded.back().data();
    }
    works.push_back(communicator.Broadcast(data, buffer.count, buffer.type, source));
  }
  BatchSource::Batch batch = batches_.Get(resume.applied);
  StepSamples samples(static_cast<int>(batch.ids.size()));
  if (sends) samples = applied_samples_;
  works.push_back(
      communicator.Broadcast(samples.numbers(), samples.count(), DataType::kInt64, source));
  Status result;
  for (Work& work : works) {
    Status status = work.Wait();
    if (result.ok()) result = status;
  }
  RETURN_IF_ERROR(result);
  if (!behind) return OkStatus();
  if (!gate_.BeginApply(world_->world.generation)) {
    return StaleGeneration("the world changed during catch-up");
  }
  return ApplyReduced(resume.applied, resume.reduced_in, samples);
}

// The source's whole state goes to everyone; who needs it loads it.
Status StepLoop::SendState(const CatchUpPlan& plan, const Status& begun) {
  Communicator& communicator = *world_->communicator;
  bool needs = plan.standings[world_->rank] == Standing::kNeedsState;
  TimePoint begin = clock_.Now();
  TransferHead head;
  std::string bytes;
  if (world_->rank == plan.source) {
    bytes = begun.ok() ? EncodeSafetensors(run_state_.Pieces(), {}) : begun.message();
    head = {static_cast<int64_t>(bytes.size()),
            !begun.ok(),
            static_cast<int64_t>(applied_samples_.count()),
            gate_.state(),
            {}};
    if (options_.checkpointer != nullptr) head.lineage = options_.checkpointer->lineage();
  }
  RETURN_IF_ERROR(
      communicator.Broadcast(&head, sizeof(head), DataType::kUint8, plan.source).Wait());
  bytes.resize(static_cast<size_t>(head.bytes));
  RETURN_IF_ERROR(
      communicator.Broadcast(bytes.data(), bytes.size(), DataType::kUint8, plan.source).Wait());
  // Its step may not be stable yet, and then who receives it may be the one that writes it down.
  StepSamples samples(static_cast<int>(head.samples / 2));
  if (world_->rank == plan.source) samples = applied_samples_;
  RETURN_IF_ERROR(
      communicator.Broadcast(samples.numbers(), samples.count(), DataType::kInt64, plan.source)
          .Wait());
  // It ends for all of them, instead of for one source after the other.
  if (head.failed != 0) return begun.ok() ? InvalidArgument(bytes) : begun;
  if (!needs) return OkStatus();
  ASSIGN_OR_RETURN(Safetensors state, DecodeSafetensors(bytes));
  RETURN_IF_ERROR(TakeState(state.pieces, head.state, head.lineage));
  // What was applied here on another line never happened.
  ledger_.ForgetAfter(0);
  applied_samples_ = samples;
  if (samples.count() > 0) {
    ASSIGN_OR_RETURN(std::vector<int64_t> ids, samples.Ids());
    ledger_.Applied(head.state.applied, head.state.reduced_in,
                    batches_.Get(head.state.applied).epoch, ids);
  }
  observer_.OnTransfer(*world_, bytes.size(), begin, clock_.Now());
  return OkStatus();
}

Status StepLoop::BeginRun() {
  Checkpointer* checkpointer = options_.checkpointer;
  // It was begun in an earlier world.
  if (checkpointer == nullptr || checkpointer->lineage().number != 0) return OkStatus();
  ASSIGN_OR_RETURN(Checkpointer::Beginning beginning, checkpointer->Begin());
  if (!beginning.state.has_value()) {
    SetLineage(beginning.lineage);
    return OkStatus();
  }
  // For the agreement it is as if this generation had reduced all the steps before.
  const StoredState& stored = *beginning.state;
  const rendezvous::WorkerState state = {stored.manifest.step, world_->world.generation,
                                         std::stoull(stored.id.substr(0, 16), nullptr, 16)};
  return TakeState(stored.pieces, state, beginning.lineage);
}

Status StepLoop::TakeState(std::span<const Piece> pieces, const rendezvous::WorkerState& state,
                           const Lineage& lineage) {
  ASSIGN_OR_RETURN(std::function<void()> take_over, run_state_.PrepareLoad(pieces));
  if (!gate_.BeginApply(world_->world.generation)) {
    return StaleGeneration("the world changed during the transfer");
  }
  take_over();
  gate_.EndApply(state);
  SetLineage(lineage);
  step_ = 0;
  kept_step_ = 0;
  applied_samples_ = StepSamples();
  return OkStatus();
}

void StepLoop::SetLineage(const Lineage& lineage) {
  if (options_.checkpointer == nullptr) return;
  options_.checkpointer->SetLineage(lineage);
  ledger_.BeginLineage(lineage);
}

// Divides what is missing of the step after the resumed one, of which some ranks may hold parts.
Status StepLoop::PrepareStep(const CatchUpPlan& plan, int rank) {
  StepNumber next = gate_.state().applied + 1;
  if (next > batches_.steps()) return OkStatus();
  const bool is_dropped = plan.held[rank].empty() && !held_.empty();
  if (step_ != next || is_dropped) OpenStep(next);
  reduction_begun_ = false;
  Division division{batch_, options_.logical_shards};
  ASSIGN_OR_RETURN(std::vector<Parts> missing, DivideMissing(division, plan.held, world_->spares));
  // A step that nobody holds a part of is divided as in an undisturbed step.
  bool untouched = std::all_of(plan.held.begin(), plan.held.end(),
                               [](const Parts& held) { return held.empty(); });
  std::vector<Parts> division_of_rank =
      untouched ? DivideBatch(division, world_->world.size(), world_->spares) : std::move(missing);
  todo_ = division_of_rank[rank];
  for (size_t r = 0; r < division_of_rank.size(); ++r) {
    division_of_rank[r].insert(division_of_rank[r].end(), plan.held[r].begin(), plan.held[r].end());
  }
  shard_owners_ = ShardOwners(division, division_of_rank);
  return OkStatus();
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
  StepNumbers numbers{.loss = loss_, .leavers = leaves ? 1.0 : 0.0, .pace = pace_};
  Checkpointer* checkpointer = options_.checkpointer;
  if (checkpointer != nullptr) numbers.checkpoint = checkpointer->Word(step_);
  Communicator& communicator = *world_->communicator;
  replica_.StartReduction();
  Work samples_work = communicator.AllReduce(samples.numbers(), samples.numbers(), samples.count(),
                                             DataType::kInt64, Reduction::kSum);
  Work numbers_work =
      communicator.AllReduce(&numbers, &numbers, kStepNumbers, DataType::kFloat64, Reduction::kSum);
  // All are waited for, whatever comes of them: their memory must not be written after this.
  Status reduced = replica_.FinishReduction();
  for (Work* work : {&samples_work, &numbers_work}) {
    Status status = work->Wait();
    if (reduced.ok()) reduced = status;
  }
  const Generation generation = world_->world.generation;
  if (!reduced.ok()) {
    if (!WorldIsChanging(reduced)) return reduced;
    options_.report_failure(generation, reduced);
    return Outcome::kWorldChanged;
  }
  // Everyone has contributed to this step, so everyone holds the one before.
  RETURN_IF_ERROR(ledger_.Stable(step_ - 1));
  if (!gate_.BeginApply(generation)) return Outcome::kWorldChanged;
  global_loss_ = numbers.loss;
  RETURN_IF_ERROR(ApplyReduced(step_, generation, samples));
  observer_.OnCommit({step_, epoch_, batch_, global_loss_, world_.get()});
  const auto slowness = straggler_watch_.Heard(pace_, paced_samples_, numbers.pace);
  if (slowness.has_value() && options_.report_slow) options_.report_slow(step_, *slowness);
  if (options_.audit_every > 0 && step_ % options_.audit_every == 0) RETURN_IF_ERROR(AuditState());
  if (checkpointer != nullptr) {
    RETURN_IF_ERROR(checkpointer->Heard(numbers.checkpoint, step_, epoch_, run_state_));
  }
  if (numbers.leavers > 0) {
    RETURN_IF_ERROR(HandOver(leaves, /*all_leave=*/numbers.leavers == communicator.size()));
  }
  return Outcome::kApplied;
}

Status StepLoop::AuditState() {
  Status audited = Audit(*world_->communicator, run_state_);
  if (audited.ok() || !WorldIsChanging(audited)) {
    return audited.WithContext("after step " + std::to_string(gate_.state().applied));
  }
  options_.report_failure(world_->world.generation, audited);
  return OkStatus();
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
  kept_step_ = step;
  state.applied = step;
  state.reduced_in = generation;
  state.hash = MixBits(MixBits(state.hash ^ step) ^ MixBits(generation) ^ samples.Hash());
  ledger_.Applied(step, generation, batches_.Get(step).epoch, *ids);
  gate_.EndApply(state);
  return OkStatus();
}

}  // namespace closeranks::elastic
