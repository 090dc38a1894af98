// How a rank comes into a world: what it lacks of the step that the world resumes from, the state
// if it needs all of it, and its part of the next step.
#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>

#include "elastic/checkpoint/safetensors.h"
#include "elastic/step_loop.h"

namespace closeranks::elastic {
namespace {

using telemetry::Activity;

// Of a whole state, as each operation has a deadline.
constexpr size_t kSentAtOnce = size_t{64} << 20;

// What a transfer says before the state itself.
struct TransferHead {
  int64_t bytes = 0;      // of what follows
  uint64_t checksum = 0;  // of it
  int64_t failed = 0;     // it is no state, but why there is none
  rendezvous::WorkerState state;
  Lineage lineage;
};
static_assert(std::is_trivially_copyable_v<TransferHead>);

}  // namespace

Status StepLoop::EnterNextWorld() {
  while (true) {
    const Status finished = transfer_.FinishChunk();
    if (!finished.ok() && !WorldIsChanging(finished)) return finished;
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
  const bool leaves = handed_over_ || Leaves();
  RankRecord mine{state, step_ == state.applied + 1 ? held_ : Parts{}, kept_step_ == state.applied,
                  leaves};
  ASSIGN_OR_RETURN(std::vector<RankRecord> records, ExchangeRecords(*world_->communicator, mine));
  ASSIGN_OR_RETURN(CatchUpPlan plan, PlanCatchUp(*world_->decision, records));
  if (plan.AnyoneIs(Standing::kOneBehind)) RETURN_IF_ERROR(SendReducedStep(plan));
  Status begun;
  if (world_->decision->resume.applied == 0) {
    RETURN_IF_ERROR(AwaitBeginning(plan));
    if (plan.source == world_->rank) begun = BeginRun();
    if (WorldIsChanging(begun)) return begun;
  }
  if (!plan.AnyoneIs(Standing::kNeedsState)) {
    transfer_.End();
  } else if (world_->decision->resume.applied > 0) {
    std::vector<bool> listeners;
    for (Standing standing : plan.standings) listeners.push_back(standing == Standing::kNeedsState);
    const bool at_once =
        world_->decision->resume.applied >= batches_.steps() || !options_.owners.empty();
    const TimePoint begin = clock_.Now();
    const bool was_behind = plan.standings[world_->rank] == Standing::kOneBehind;
    RETURN_IF_ERROR(
        BeginTransfer(std::move(listeners), at_once, leaves, was_behind, /*anew=*/false));
    // Who has received everything, but didn't come to load it in the world before, does so now.
    if (transfer_.at_once() || transfer_.all_sent()) {
      RETURN_IF_ERROR(CompleteTransfer());
      entry.transfer_begin = begin;
      entry.transfer_end = clock_.Now();
    } else {
      transfer_.StartChunk(*world_->communicator);
    }
  } else {
    transfer_.End();
    entry.transfer_begin = clock_.Now();
    RETURN_IF_ERROR(SendState(plan, begun));
    entry.transfer_end = clock_.Now();
  }
  RETURN_IF_ERROR(begun);
  RETURN_IF_ERROR(PrepareStep(plan, world_->rank));
  if (transfer_.listens()) {
    if (leaves) Go();
    return OkStatus();
  }
  if (options_.report_entered) options_.report_entered(world_->world.generation);
  entry.resumed_from = gate_.state().applied;
  entry.entered = clock_.Now();
  observer_.OnWorld(*world_, entry);
  const bool all_leave = std::all_of(records.begin(), records.end(),
                                     [](const RankRecord& record) { return record.leaves; });
  return leaves ? GoBeforeTheStep(plan, all_leave) : OkStatus();
}

Status StepLoop::GoBeforeTheStep(const CatchUpPlan& plan, bool all_leave) {
  // Where it is behind or begun here, the step is made first.
  const bool may_go =
      step_ == gate_.state().applied + 1 && held_.empty() && !plan.AnyoneIs(Standing::kOneBehind);
  if (all_leave && world_->decision->resume.applied > 0) {
    // Once it is begun they make the step together, who had handed over too, and go as HandOver
    // says.
    if (plan.IsBegun()) handed_over_ = false;
    if (plan.IsBegun() || !may_go) return OkStatus();
    RETURN_IF_ERROR(TakeFinalCheckpoint());
  }
  if (may_go) Go();
  return OkStatus();
}

// The reduced gradients of the resumed step go to everyone; who is behind applies them.
Status StepLoop::SendReducedStep(const CatchUpPlan& plan) {
  Communicator& communicator = *world_->communicator;
  const rendezvous::WorkerState& resume = world_->decision->resume;
  bool sends = world_->rank == plan.step_source;
  bool behind = plan.standings[world_->rank] == Standing::kOneBehind;
  std::vector<Work> works;
  std::vector<std::string> discarded;
  for (const Buffer& buffer : replica_.ReducedGradients(resume.applied)) {
    void* data = buffer.data;
    if (!sends && !behind) {
      discarded.emplace_back(buffer.count * SizeOf(buffer.type), '\0');
      data = discarded.back().data();
    }
    works.push_back(communicator.Broadcast(data, buffer.count, buffer.type, plan.step_source));
  }
  BatchSource::Batch batch = batches_.Get(resume.applied);
  StepSamples samples(static_cast<int>(batch.ids.size()));
  if (sends) samples = applied_samples_;
  works.push_back(communicator.Broadcast(samples.numbers(), samples.count(), DataType::kInt64,
                                         plan.step_source));
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

Status StepLoop::SendState(const CatchUpPlan& plan, const Status& begun) {
  Communicator& communicator = *world_->communicator;
  TimePoint begin = clock_.Now();
  TransferHead head;
  std::string bytes;
  if (world_->rank == plan.source) {
    bytes = begun.ok() ? EncodeSafetensors(run_state_.Pieces(), {}) : begun.message();
    head = {static_cast<int64_t>(bytes.size()), ChecksumOf(bytes), !begun.ok(), gate_.state(), {}};
    if (options_.checkpointer != nullptr) head.lineage = options_.checkpointer->lineage();
  }
  RETURN_IF_ERROR(
      communicator.Broadcast(&head, sizeof(head), DataType::kUint8, plan.source).Wait());
  bytes.resize(static_cast<size_t>(head.bytes));
  for (size_t done = 0; done < bytes.size(); done += kSentAtOnce) {
    const size_t count = std::min(bytes.size() - done, kSentAtOnce);
    RETURN_IF_ERROR(
        communicator.Broadcast(bytes.data() + done, count, DataType::kUint8, plan.source).Wait());
  }
  // It ends for all of them, instead of for one source after the other.
  if (head.failed != 0) return begun.ok() ? InvalidArgument(bytes) : begun;
  if (world_->rank == plan.source) return OkStatus();
  RETURN_IF_ERROR(CheckArrived(bytes, head.checksum));
  ASSIGN_OR_RETURN(Safetensors state, DecodeSafetensors(bytes));
  RETURN_IF_ERROR(TakeState(state.pieces, head.state, head.lineage));
  observer_.OnTransfer(*world_, bytes.size(), begin, clock_.Now());
  return OkStatus();
}

Status StepLoop::AwaitBeginning(const CatchUpPlan& plan) {
  Checkpointer* checkpointer = options_.checkpointer;
  if (checkpointer == nullptr) return OkStatus();
  struct Words {
    int64_t is_there = 0;
    int64_t are_busy = 0;  // those who were the source in an earlier world
  };
  const bool is_source = plan.source == world_->rank;
  Words all = {.is_there = 0, .are_busy = 1};
  while (all.is_there == 0) {
    const bool may_begin = all.are_busy == 0;
    all = {};
    if (is_source && may_begin) {
      all.is_there = checkpointer->AwaitBeginning() ? 1 : 0;
    } else if (!is_source) {
      const Result<bool> is_idle = checkpointer->ForgetBeginning();
      if (!is_idle.ok()) return InEveryWorld(is_idle.status());
      all.are_busy = *is_idle ? 0 : 1;
    }
    RETURN_IF_ERROR(world_->communicator
                        ->AllReduce(&all, &all, sizeof(Words) / sizeof(int64_t), DataType::kInt64,
                                    Reduction::kSum)
                        .Wait());
  }
  return OkStatus();
}

Status StepLoop::BeginRun() {
  Checkpointer* checkpointer = options_.checkpointer;
  // It was begun in an earlier world.
  if (checkpointer == nullptr || checkpointer->lineage().number != 0) return OkStatus();
  const auto beginning = checkpointer->beginning();  // held: SetLineage drops it
  if (!beginning->ok()) return InEveryWorld(beginning->status());
  const Lineage& lineage = (*beginning)->lineage;
  if (!(*beginning)->state.has_value()) {
    SetLineage(lineage);
    return OkStatus();
  }
  // For the agreement it is as if this generation had reduced all the steps before.
  const StoredState& stored = *(*beginning)->state;
  const rendezvous::WorkerState state = {stored.manifest.step, world_->world.generation,
                                         std::stoull(stored.id.substr(0, 16), nullptr, 16)};
  return TakeState(stored.pieces, state, lineage);
}

Status StepLoop::TakeState(std::span<const Piece> pieces, const rendezvous::WorkerState& state,
                           const Lineage& lineage) {
  Result<std::function<void()>> take_over = run_state_.PrepareLoad(pieces);
  if (!take_over.ok()) return InEveryWorld(take_over.status());
  if (!gate_.BeginApply(world_->world.generation)) {
    return StaleGeneration("the world changed during the transfer");
  }
  (*take_over)();
  gate_.EndApply(state);
  SetLineage(lineage);
  // What was applied here on another line never happened.
  ledger_.ForgetAfter(0);
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
  StepNumber next = newest() + 1;
  if (next > batches_.steps()) return OkStatus();
  const bool is_dropped = plan.held[rank].empty() && !held_.empty();
  if (step_ != next || is_dropped) OpenStep(next);
#ifndef CLOSERANKS_PLANT_TORN_SUMS_KEPT
  reduction_begun_ = false;
#endif
  // A step that nobody holds a part of is divided as in an undisturbed step.
  if (!plan.IsBegun()) {
    TakeParts(UndisturbedParts());
    return OkStatus();
  }
  const std::vector<int> computing = Computing(plan.held);
  std::vector<Parts> held;
  for (int r : computing) held.push_back(plan.held[r]);
  ASSIGN_OR_RETURN(std::vector<Parts> missing,
                   DivideMissing({batch_, options_.logical_shards}, held));
  TakeParts(OfRanks(computing, world_->world.size(), std::move(missing)), plan.held);
  return OkStatus();
}

std::vector<int> StepLoop::Computing(std::span<const Parts> held) const {
  const int most = world_->world.size() - world_->spares;
  std::vector<int> computing;
  for (int rank = 0; rank < world_->world.size(); ++rank) {
    if (transfer_.Listens(rank)) continue;
    const bool holds = !held.empty() && !held[rank].empty();
    if (static_cast<int>(computing.size()) < most || holds) computing.push_back(rank);
  }
  return computing;
}

std::vector<Parts> StepLoop::UndisturbedParts() const {
  const std::vector<int> computing = Computing();
  return OfRanks(
      computing, world_->world.size(),
      DivideBatch({batch_, options_.logical_shards}, static_cast<int>(computing.size())));
}

void StepLoop::TakeParts(std::vector<Parts> parts, std::span<const Parts> held) {
  todo_ = parts[world_->rank];
  for (size_t rank = 0; rank < held.size(); ++rank) {
    parts[rank].insert(parts[rank].end(), held[rank].begin(), held[rank].end());
  }
  shard_owners_ = ShardOwners({batch_, options_.logical_shards}, parts);
}

}  // namespace closeranks::elastic
