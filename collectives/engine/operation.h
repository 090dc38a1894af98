// One collective that an engine is running: a schedule, the caller's memory, and how far it has
// come.
#ifndef CLOSERANKS_COLLECTIVES_ENGINE_OPERATION_H_
#define CLOSERANKS_COLLECTIVES_ENGINE_OPERATION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "collectives/engine/call.h"
#include "collectives/reduction/kernels.h"
#include "collectives/schedule/schedule.h"
#include "collectives/work.h"

namespace closeranks::collectives {

class Engine;

// What a backend hands to the engine.
struct OperationSpec {
  Call call;
  uint64_t sequence = 0;
  std::shared_ptr<const Schedule> schedule;
  std::vector<const void*> inputs;  // schedule->input_count of them
  void* output = nullptr;
  TimePoint deadline = kNever;
};

// Everything but Wait and IsDone is the engine's business and guarded by its lock.
class Operation final : public Work::State {
 public:
  Operation(Engine& engine, OperationSpec spec, Kernels kernels, TimePoint now);

  Status Wait() override;
  bool IsDone() const override { return done_.load(std::memory_order_acquire); }

  // False when there was no memory for its scratch: it can't run.
  bool HasMemory() const { return schedule().scratch_elements == 0 || scratch_ != nullptr; }

  const OperationSpec& spec() const { return spec_; }
  const Schedule& schedule() const { return *spec_.schedule; }
  const Step& step(size_t index) const { return spec_.schedule->steps[index]; }
  std::byte* At(Slice slice) const;
  size_t BytesOf(const Step& step) const { return step.count * element_bytes_; }

  // The local steps, and what is done with a part of a message (at `offset` bytes of its step).
  void RunCopy(const Step& step);
  void RunReduce(const Step& step);
  void RunReduceFromView(const Step& step, size_t offset, std::span<const std::byte> piece);

  // Marks a step as done and appends the steps that can go now to `ready`.
  void Finish(size_t index, std::vector<uint32_t>* ready);
  // The peer has begun this operation as well. Harmless when it isn't waited for.
  void NoteHeard(int peer);
  // All steps are done, and every peer that gets something from us has begun the operation too: so
  // a different call of its doesn't go unnoticed.
  bool IsComplete() const { return steps_left_ == 0 && peers_to_hear_ == 0; }

  bool announced_to(int peer) const { return announced_to_[peer]; }
  void set_announced_to(int peer) { announced_to_[peer] = true; }

  // Its place in the flight recorder.
  uint64_t flight_number() const { return flight_number_; }
  void set_flight_number(uint64_t number) { flight_number_ = number; }

  // Whether something of it is still to be sent to this rank, received or heard from it.
  bool Needs(int rank) const;
  // The ranks whose messages are waited for now; if there are none, those that don't take ours.
  std::vector<int> AwaitedRanks() const;

  // Status first, then everyone may look.
  void End(Status status);
  // Valid once it is done.
  const Status& status() const { return status_; }
  TimePoint started() const { return started_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  void Divide(std::byte* values, size_t count);

  Engine& engine_;
  const OperationSpec spec_;
  const Kernels kernels_;
  const size_t element_bytes_;
  const TimePoint started_;
  std::unique_ptr<std::byte, Free> scratch_;
  static constexpr uint32_t kDone = UINT32_MAX;
  std::vector<uint32_t> missing_;  // for each step: dependencies that aren't done; kDone when it is
  size_t steps_left_;
  std::vector<bool> announced_to_;   // for each rank
  std::vector<bool> waits_to_hear_;  // for each rank
  size_t peers_to_hear_;
  uint64_t flight_number_ = 0;
  Status status_;
  std::atomic<bool> done_{false};
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ENGINE_OPERATION_H_
