// Processes that are connected to each other, for tests of collectives: everything between two
// ranks is real.
#ifndef CLOSERANKS_TESTS_MULTIPROCESS_COLLECTIVES_WORLD_H_
#define CLOSERANKS_TESTS_MULTIPROCESS_COLLECTIVES_WORLD_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "collectives/communicator.h"
#include "collectives/engine/engine.h"
#include "collectives/engine/progress_thread.h"
#include "collectives/native_communicator.h"
#include "collectives/transport/transport.h"

namespace closeranks::testing_world {

enum class Wire { kTcp, kShm };
std::string_view WireName(Wire wire);  // "Tcp"

// What one rank's process has.
class RankProcess {
 public:
  // `sockets` has one for each rank; none for the own.
  RankProcess(int rank, Wire wire, std::vector<UniqueFd> sockets, UniqueFd to_parent,
              UniqueFd from_parent);
  ~RankProcess();

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(transports_.size()); }
  collectives::Engine& engine() { return engine_; }
  collectives::Transport* transport(int rank) { return transports_[rank].get(); }
  const Clock& clock() const { return clock_; }

  // Of these of the original ranks, in this order; empty means all. CHECK-fails when it can't.
  std::unique_ptr<Communicator> MakeCommunicator(Generation generation, std::vector<int> ranks = {},
                                                 const NativeCommunicatorOptions& options = {});
  // Of a peer's loss nobody waited for: blocks until the engine has told one.
  std::pair<MemberProcess, Status> WaitForLost();

  // Tells the parent that this rank has come so far, and waits for its answer.
  void Checkpoint();
  // Only the first half of it.
  void TellParent();
  void WaitForParent();

 private:
  struct Lost;

  const int rank_;
  SystemClock clock_;
  std::unique_ptr<Lost> lost_;
  collectives::Engine engine_;
  std::vector<std::unique_ptr<collectives::Transport>> transports_;
  std::unique_ptr<collectives::ProgressThread> progress_;
  UniqueFd to_parent_;
  UniqueFd from_parent_;
};

// The parent's side. Each rank runs `body` in a process of its own, forked from this one, and exits
// with 0 unless the body recorded a failure of GoogleTest (or died).
class ProcessWorld {
 public:
  ProcessWorld(int size, Wire wire, std::function<void(RankProcess&)> body);
  // Kills who is still there.
  ~ProcessWorld();

  pid_t pid(int rank) const { return pids_[rank]; }
  void Signal(int rank, int signal);
  // Blocks until `rank` has called TellParent (or Checkpoint) once more; false when it has gone.
  bool WaitFor(int rank);
  void Release(int rank);
  // WaitFor and Release of all of these.
  void PassCheckpoint(const std::vector<int>& ranks);
  // Blocks until the process has ended; its exit status, or minus the signal that ended it.
  int Join(int rank);
  // Every rank of these ended well. Ranks that have ended stay zombies until they are joined.
  void ExpectSuccess(const std::vector<int>& ranks);

 private:
  std::vector<pid_t> pids_;
  std::vector<UniqueFd> from_children_;
  std::vector<UniqueFd> to_children_;
};

}  // namespace closeranks::testing_world

#endif  // CLOSERANKS_TESTS_MULTIPROCESS_COLLECTIVES_WORLD_H_
