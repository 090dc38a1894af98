#include "collectives/engine/engine.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>
#include <string>

#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

constexpr size_t kMostReady = 64;
// How often a transport that polls memory looks at its descriptor while it is polled anyway.
constexpr uint32_t kRoundsPerAsk = 64;
// An operation of this size is worth waking the serving thread for, without knowing whether its
// caller will wait for it at once.
constexpr size_t kWorthWakingBytes = 64 << 10;

UniqueFd MakeEvent() {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  CHECK(event) << ErrnoStatus(errno, "eventfd");
  return event;
}

std::string ListRanks(const std::vector<int>& ranks) {
  std::ostringstream text;
  text << (ranks.size() == 1 ? "rank " : "ranks ");
  for (size_t i = 0; i < ranks.size(); ++i) text << (i > 0 ? ", " : "") << ranks[i];
  return text.str();
}

// "all-reduce float32 x 100 sum (ring) waited 2000 ms for rank 1"
std::string DescribeWaiting(const Operation& operation, TimePoint now) {
  std::ostringstream text;
  text << operation.spec().call.ToString() << " waited "
       << static_cast<int64_t>(ToMilliseconds(now - operation.started())) << " ms";
  const std::vector<int> ranks = operation.AwaitedRanks();
  if (!ranks.empty()) text << " for " << ListRanks(ranks);
  return text.str();
}

}  // namespace

Engine::Engine(const Clock& clock) : Engine(clock, Options{}) {}

Engine::Engine(const Clock& clock, Options options)
    : Engine(clock, options, MakeEpollWatch(clock)) {}

Engine::Engine(const Clock& clock, Options options, std::unique_ptr<DescriptorWatch> watch)
    : clock_(clock), options_(options), watch_(std::move(watch)), park_(MakeEvent()) {}

Engine::~Engine() {
  PoliteLock lock(*this);
  CHECK(groups_.empty()) << "a communicator outlives its engine";
  CHECK(transports_.empty()) << "a transport is still attached";
  CHECK(waiters_ == 0 && !serving_);
}

void Engine::SetOnPeerLost(PeerLostCallback callback) {
  PoliteLock lock(*this);
  on_peer_lost_ = std::move(callback);
}

Status Engine::Attach(Transport& transport) {
  PoliteLock lock(*this);
  auto attached = std::make_unique<Attached>();
  attached->transport = &transport;
  if (transport.descriptor() >= 0) {
    RETURN_IF_ERROR(watch_->Add(transport.descriptor(), attached.get()));
  }
  transports_.push_back(std::move(attached));
  if (!transport.capabilities().polls_memory) ++sockets_;
  // Whoever sleeps has armed the transports without this one.
  if (transport.capabilities().polls_memory) WakeSleepers();
  return OkStatus();
}

void Engine::Detach(Transport& transport) {
  PoliteLock lock(*this);
  DetachLocked(transport);
}

void Engine::Discard(Transport& transport) {
  PoliteLock lock(*this);
  DetachLocked(transport);
  transport.Close();
}

void Engine::DetachLocked(Transport& transport) {
  for (const auto& group : groups_) {
    if (group->RankOf(&transport) >= 0) {
      FailGroup(*group, Aborted("the transport to rank " +
                                std::to_string(group->RankOf(&transport)) + " was detached"));
    }
  }
  for (size_t i = 0; i < transports_.size(); ++i) {
    if (transports_[i]->transport != &transport) continue;
    if (transport.descriptor() >= 0 && !transports_[i]->failed) {
      watch_->Remove(transport.descriptor());
    }
    if (!transport.capabilities().polls_memory) --sockets_;
    transports_.erase(transports_.begin() + static_cast<ptrdiff_t>(i));
    return;
  }
}

bool Engine::PollOnce() {
  PoliteLock lock(*this);
  const bool moved = PollLocked();
  TellLost(lock.get());
  return moved;
}

bool Engine::PollLocked() {
  bool moved = PollTransports();
  for (size_t i = 0; i < groups_.size(); ++i) moved |= Settle(*groups_[i]);
  // After the rest: what a peer said before it was lost counts.
  for (const auto& attached : transports_) moved |= NoteFailure(*attached);
  moved |= EndOverdue();
  return moved;
}

bool Engine::PollTransports() {
  // A single socket is cheaper to try than to ask about. Those that poll memory use theirs for rare
  // things.
  const bool try_all = sockets_ == 1 && transports_.size() == 1;
  const bool ask = !try_all && (sockets_ > 0 || slept_ || ++rounds_ % kRoundsPerAsk == 0);
  slept_ = false;
  if (ask) {
    std::array<void*, kMostReady> owners;
    const size_t count = watch_->Ready(owners);
    for (size_t i = 0; i < count; ++i) static_cast<Attached*>(owners[i])->ready = true;
  }
  bool moved = false;
  for (const auto& attached : transports_) {
    if (attached->failed) continue;
    Transport& transport = *attached->transport;
    moved |= transport.Poll(try_all || attached->ready || transport.wants_to_write());
    attached->ready = false;
  }
  return moved;
}

bool Engine::NoteFailure(Attached& attached) {
  if (attached.failed) return false;
  const Status failure = attached.transport->failure();
  if (failure.ok()) return false;
  attached.failed = true;
  if (attached.transport->descriptor() >= 0) {
    watch_->Remove(attached.transport->descriptor());
  }
  lost_.emplace_back(attached.transport->peer(), failure);
  for (const auto& group : groups_) {
    const int rank = group->RankOf(attached.transport);
    if (rank < 0) continue;
    std::string text = "rank " + std::to_string(rank) + ": " + failure.message();
    const std::shared_ptr<Operation> oldest = group->Oldest();
    if (oldest) text += "; " + DescribeWaiting(*oldest, clock_.Now());
    Status why =
        Status(failure.code(), text).WithSuspectedRank(rank).WithGeneration(group->generation());
    if (oldest) (void)std::move(why).WithOpSequence(oldest->spec().sequence);
    if (!group->health().ok()) continue;
    why = group->NoteLost(rank, std::move(why));
    if (!why.ok()) FailGroup(*group, why);
  }
  return true;
}

bool Engine::EndOverdue() {
  const TimePoint now = clock_.Now();
  if (now < next_deadline_) return false;
  bool ended = false;
  next_deadline_ = kNever;
  for (size_t i = 0; i < groups_.size(); ++i) {
    Group& group = *groups_[i];
    if (const std::shared_ptr<Operation> overdue = group.FindOverdue(now)) {
      Status why = Timeout(DescribeWaiting(*overdue, now))
                       .WithGeneration(group.generation())
                       .WithOpSequence(overdue->spec().sequence);
      const std::vector<int> ranks = overdue->AwaitedRanks();
      if (!ranks.empty()) (void)std::move(why).WithSuspectedRank(ranks.front());
      FailGroup(group, why);
      ended = true;
    }
    next_deadline_ = std::min(next_deadline_, group.EarliestDeadline());
  }
  return ended;
}

bool Engine::Settle(Group& group) {
  bool moved = group.RunReady();
  for (const std::shared_ptr<Operation>& operation : group.TakeCompleted()) {
    EndOperation(*operation, OkStatus());
    moved = true;
  }
  std::optional<Status> failure = group.TakeFailure();
  if (!failure.has_value()) failure = group.LeftBehind();
  if (failure.has_value() && group.health().ok()) {
    FailGroup(group, *failure);
    moved = true;
  }
  return moved;
}

void Engine::FailGroup(Group& group, const Status& why) {
  for (const std::shared_ptr<Operation>& operation : group.TakeCompleted()) {
    EndOperation(*operation, OkStatus());
  }
  for (const std::shared_ptr<Operation>& operation : group.Fail(why)) {
    EndOperation(*operation, group.health());
  }
}

void Engine::EndOperation(Operation& operation, Status status) {
  if (options_.flight != nullptr) options_.flight->End(operation.flight_number(), status);
  operation.End(std::move(status));
  if (followers_ > 0) driver_left_.notify_all();
  if (driver_asleep_) WakeSleepers();
}

Result<std::shared_ptr<Group>> Engine::OpenGroup(const GroupSpec& spec) {
  PoliteLock lock(*this);
  for (const auto& other : groups_) {
    if (other->generation() < spec.generation) {
      FailGroup(*other,
                StaleGeneration("generation " + std::to_string(spec.generation) + " has begun"));
    } else if (other->generation() == spec.generation && other->channel() == spec.channel) {
      return InvalidArgument("generation " + std::to_string(spec.generation) + " has channel " +
                             std::to_string(spec.channel) + " already");
    }
  }
  for (int rank = 0; rank < spec.size; ++rank) {
    if (rank == spec.rank) continue;
    const bool is_attached = std::any_of(
        transports_.begin(), transports_.end(),
        [&](const auto& attached) { return attached->transport == spec.transports[rank]; });
    if (!is_attached) {
      return InvalidArgument("the transport to rank " + std::to_string(rank) + " isn't attached");
    }
  }
  auto group = std::make_shared<Group>(spec, options_.eager_bytes);
  RETURN_IF_ERROR(group->Open());
  groups_.push_back(group);
  Settle(*group);
  return group;
}

void Engine::CloseGroup(const std::shared_ptr<Group>& group) {
  PoliteLock lock(*this);
  group->SayGoodbye();
  FailGroup(*group, Aborted("the communicator is gone"));
  std::erase(groups_, group);
}

Work Engine::Submit(const std::shared_ptr<Group>& group, OperationSpec spec) {
  PoliteLock polite(*this);
  Settle(*group);
  if (!group->health().ok()) return Work::Ended(group->health());
  const uint64_t sequence = spec.sequence;
  const Kernels kernels = KernelsFor(options_.kernels, spec.call.type);
  auto operation = std::make_shared<Operation>(*this, std::move(spec), kernels, clock_.Now());
  const Call& call = operation->spec().call;
  if (options_.flight != nullptr) {
    operation->set_flight_number(
        options_.flight->Begin(group->generation(), sequence, call.Encode(),
                               call.count * SizeOf(call.type), operation->started()));
  }
  if (!operation->HasMemory()) {
    FailGroup(*group, ResourceExhausted("no memory for scratch of " + call.ToString())
                          .WithGeneration(group->generation())
                          .WithOpSequence(sequence));
    return Work::Ended(group->health());
  }
  next_deadline_ = std::min(next_deadline_, operation->spec().deadline);
  group->Start(operation);
  Settle(*group);
  if (!operation->IsDone() && waiters_ == 0 && (server_parked_ || server_asleep_)) {
    const size_t bytes = call.count * SizeOf(call.type);
    const bool likely_alone = group->operations_under_way() == 1 && bytes < kWorthWakingBytes;
    if (!likely_alone) UnparkServer();
    // It sleeps in the kernel, where it has to hear of a new deadline and of a full socket.
    if (server_asleep_) WakeSleepers();
  }
  return Work(std::move(operation));
}

void Engine::Abort(const std::shared_ptr<Group>& group, Status why) {
  PoliteLock lock(*this);
  if (why.ok()) why = Aborted("aborted");
  FailGroup(*group, why);
}

Status Engine::HealthOf(const std::shared_ptr<Group>& group) {
  PoliteLock lock(*this);
  return group->health();
}

}  // namespace closeranks::collectives
