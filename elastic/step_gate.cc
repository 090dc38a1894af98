#include "elastic/step_gate.h"

#include <utility>

namespace closeranks::elastic {

void StepGate::Shut(Status why, Frozen frozen) {
  std::shared_ptr<const ConnectedWorld> closed;
  std::optional<rendezvous::WorkerState> answer;
  {
    std::lock_guard lock(mutex_);
    closed = std::exchange(open_, nullptr);
#ifdef CLOSERANKS_PLANT_ANSWER_DURING_UPDATE
    const bool must_wait = false;
#else
    const bool must_wait = applying_;
#endif
    if (must_wait) {
      frozen_ = std::move(frozen);
    } else {
      answer = state_;
    }
  }
  if (closed != nullptr) closed->communicator->Abort(std::move(why));
  if (answer.has_value()) frozen(*answer);
}

void StepGate::Open(std::shared_ptr<const ConnectedWorld> world) {
  {
    std::lock_guard lock(mutex_);
    if (ended_.has_value()) return;
    open_ = std::move(world);
  }
  changed_->NotifyAll();
}

void StepGate::End(Status why, rendezvous::WorkerState at) {
  std::shared_ptr<const ConnectedWorld> closed;
  {
    std::lock_guard lock(mutex_);
    closed = std::exchange(open_, nullptr);
    if (!ended_.has_value()) {
      ended_ = why;
      ended_at_ = at;
    }
  }
  if (closed != nullptr) closed->communicator->Abort(why.ok() ? Aborted("the job has ended") : why);
  changed_->NotifyAll();
}

Result<std::shared_ptr<const ConnectedWorld>> StepGate::Await() {
  return AwaitOtherThan(Generation{0});
}

Result<std::shared_ptr<const ConnectedWorld>> StepGate::AwaitOtherThan(Generation generation) {
  std::unique_lock lock(mutex_);
  changed_->WaitUntilTrue(lock, [&] {
    return ended_.has_value() || (open_ != nullptr && open_->world.generation != generation);
  });
  if (ended_.has_value()) {
    if (!ended_->ok()) return *ended_;
    return std::shared_ptr<const ConnectedWorld>();
  }
  return open_;
}

bool StepGate::BeginApply(Generation generation) {
  std::lock_guard lock(mutex_);
  if (open_ == nullptr || open_->world.generation != generation) return false;
  applying_ = true;
  return true;
}

void StepGate::EndApply(rendezvous::WorkerState state) {
  Frozen frozen;
  {
    std::lock_guard lock(mutex_);
    applying_ = false;
    state_ = state;
    frozen = std::exchange(frozen_, nullptr);
  }
  if (frozen) frozen(state);
}

rendezvous::WorkerState StepGate::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

bool StepGate::HoldsTheEnd() const {
  std::lock_guard lock(mutex_);
#ifdef CLOSERANKS_PLANT_END_WITHOUT_THE_STATE
  return ended_.has_value() && ended_->ok();
#else
  return ended_.has_value() && ended_->ok() && state_ == ended_at_;
#endif
}

}  // namespace closeranks::elastic
