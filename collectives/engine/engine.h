// Runs schedules over transports, for all communicators of a process.
#ifndef CLOSERANKS_COLLECTIVES_ENGINE_ENGINE_H_
#define CLOSERANKS_COLLECTIVES_ENGINE_ENGINE_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "collectives/engine/descriptor_watch.h"
#include "collectives/engine/group.h"
#include "collectives/engine/operation.h"
#include "collectives/reduction/kernels.h"
#include "collectives/transport/transport.h"
#include "collectives/work.h"
#include "telemetry/flight_recorder.h"

namespace closeranks::collectives {

// One for each process, made by main (or a simulator: one for each simulated process) and passed by
// reference. All calls may come from any thread. Everything below is guarded by one lock, which is
// held for one round of polling at most.
//
// Who drives: a thread that waits for a Work drives the engine itself until it is done: it polls
// for some microseconds, then sleeps in the kernel. Of several that wait one drives and the others
// sleep. While nobody waits a ProgressThread drives, if there is one; without one nothing moves.
// PollOnce is for those who own time, such as a simulator.
class Engine {
 public:
  struct Options {
    // How long a waiting thread polls before it sleeps; after the first 2 us it yields its core in
    // between (unless that has taken long), because ranks often outnumber cores. Longer than it
    // takes to be woken (25-45 us), or ranks that once slept would make each other sleep for ever.
    Duration spin = std::chrono::microseconds(50);
    // How much may be sent to a peer for operations that it hasn't begun yet.
    size_t eager_bytes = 1 << 20;
    InstructionSet kernels = BestInstructionSet();
    // What the operations are noted in, or null. Outlives the engine.
    telemetry::FlightRecorder* flight = nullptr;
  };
  // Called once for each attached transport that fails, by the thread that noticed, without any
  // lock held, after the operations of its groups have ended. It may call everything but
  // Work::Wait, must be quick, and may still be under way when Detach returns (it holds no
  // transport).
  using PeerLostCallback = std::function<void(const MemberProcess& peer, const Status& why)>;

  explicit Engine(const Clock& clock);
  // `clock` outlives the engine. CHECK-fails when the kernel has no descriptors left.
  Engine(const Clock& clock, Options options);
  Engine(const Clock& clock, Options options, std::unique_ptr<DescriptorWatch> watch);
  // No group is left, no transport attached, nobody waits or serves (CHECK).
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Losses before this call are told to nobody.
  void SetOnPeerLost(PeerLostCallback callback);

  // From now on the engine polls `transport`, and notices its failure also when no operation is
  // under way. `transport` must stay until it is detached. kResourceExhausted when the kernel
  // refuses to watch it.
  Status Attach(Transport& transport);
  // Groups that still use it end with kAborted. Harmless when it isn't attached.
  void Detach(Transport& transport);
  // Detaches it, and closes its connection: for a peer that is given up while somebody may still
  // hold the transport, who then finds that it does nothing.
  void Discard(Transport& transport);

  // Moves what can be moved without blocking, ends what is overdue, and returns whether anything
  // happened.
  bool PollOnce();

  // For ProgressThread: drives while nobody waits, sleeps otherwise, until StopServing. One thread
  // at most.
  void Serve();
  void StopServing();

  // --- For backends.

  // Groups of older generations end with kStaleGeneration. Fails when a transport has failed or
  // belongs to a newer generation already.
  Result<std::shared_ptr<Group>> OpenGroup(const GroupSpec& spec);
  // Ends what is under way (kAborted), waits for nobody. The transports may go afterwards, once
  // detached.
  void CloseGroup(const std::shared_ptr<Group>& group);
  // Sequences count up from 0 within the group. When the group has failed the work has ended with
  // its health.
  Work Submit(const std::shared_ptr<Group>& group, OperationSpec spec);
  // Ends all operations of the group under way, and all later ones. The first call's `why` stays.
  void Abort(const std::shared_ptr<Group>& group, Status why);
  Status HealthOf(const std::shared_ptr<Group>& group);

 private:
  friend class Operation;
  struct Attached {
    Transport* transport = nullptr;
    bool watches_writing = false;
    bool failed = false;
    bool ready = false;  // its descriptor, in this round
  };
  // Takes the lock; whoever polls gives way.
  class PoliteLock {
   public:
    explicit PoliteLock(Engine& engine);
    std::unique_lock<std::mutex>& get() { return lock_; }

   private:
    std::unique_lock<std::mutex> lock_;
  };

  void DetachLocked(Transport& transport);
  Status Wait(Operation& operation);
  void DriveUntilDone(std::unique_lock<std::mutex>& lock, const Operation& operation);

  // All of these with the lock held; those that take it release it meanwhile.
  bool PollLocked();
  bool PollTransports();
  bool NoteFailure(Attached& attached);
  bool EndOverdue();
  // Ends what has completed or failed. True when something had.
  bool Settle(Group& group);
  void FailGroup(Group& group, const Status& why);
  void EndOperation(Operation& operation, Status status);
  bool PrepareToSleep();
  void EndSleep();
  void Sleep(std::unique_lock<std::mutex>& lock, bool* sleeping);
  void GiveWay(std::unique_lock<std::mutex>& lock);
  void Yield(std::unique_lock<std::mutex>& lock);
  void TellLost(std::unique_lock<std::mutex>& lock);
  void WakeSleepers();
  void UnparkServer();
  void DrainWake();

  const Clock& clock_;
  const Options options_;
  PeerLostCallback on_peer_lost_;
  const std::unique_ptr<DescriptorWatch> watch_;
  UniqueFd park_;  // wakes the serving thread while it leaves watch_ to waiting threads
  std::mutex mutex_;
  std::condition_variable driver_left_;
  std::atomic<int> contenders_{0};  // threads that want the lock for something short

  std::vector<std::unique_ptr<Attached>> transports_;
  int sockets_ = 0;  // of them, those that don't poll memory
  uint32_t rounds_ = 0;
  bool slept_ = false;  // since the last round: a descriptor may have woken us
  std::vector<std::shared_ptr<Group>> groups_;
  std::vector<std::pair<MemberProcess, Status>> lost_;  // to be told
  TimePoint next_deadline_ = kNever;  // at the latest then look for overdue operations
  int waiters_ = 0;
  int followers_ = 0;  // of the waiters, those who leave driving to another
  uint64_t waits_begun_ = 0;
  int without_yield_ = 0;       // for so many waits yielding isn't worth it
  bool driving_ = false;        // a waiter drives
  bool driver_asleep_ = false;  // it sleeps in watch_
  bool server_asleep_ = false;  // the serving thread sleeps in watch_
  bool server_parked_ = false;  // the serving thread waits for park_
  bool serving_ = false;
  bool stop_serving_ = false;
  bool armed_ = false;  // transports that poll memory were told that we sleep
  bool wake_written_ = false;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ENGINE_ENGINE_H_
