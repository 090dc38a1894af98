// Ranks that all live in this process and share one clock: for tests and simulations of
// collectives.
#ifndef CLOSERANKS_COLLECTIVES_SIMULATED_WORLD_H_
#define CLOSERANKS_COLLECTIVES_SIMULATED_WORLD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/random.h"
#include "base/status.h"
#include "collectives/communicator.h"
#include "collectives/engine/engine.h"
#include "collectives/transport/simulated_transport.h"
#include "collectives/work.h"

namespace closeranks {

// Every rank has its own engine and a simulated transport to each other rank. The shipping code
// runs above them, one poll after the other, in an order drawn from the seed: the same seed gives
// the same run. Single-threaded; nobody may call Work::Wait on a work that isn't done.
class SimulatedWorld {
 public:
  explicit SimulatedWorld(int size, uint64_t seed,
                          collectives::SimulatedLink::Options options = {});
  ~SimulatedWorld();

  int size() const { return static_cast<int>(engines_.size()); }
  ManualClock& clock() { return clock_; }
  SeededRandom& random() { return random_; }
  collectives::Engine& engine(int rank) { return *engines_[rank]; }
  collectives::SimulatedLink& link(int a, int b);
  collectives::Transport* transport(int from, int to);

  // Rank `rank` of the original ones makes a communicator of `ranks` (all when empty). CHECK-fails
  // on errors.
  std::unique_ptr<Communicator> MakeCommunicator(int rank, Generation generation,
                                                 std::vector<int> ranks = {},
                                                 Duration timeout = std::chrono::seconds(60));
  // From now on this rank isn't polled, and its peers lose it.
  void Kill(int rank);
  // From now on this rank isn't polled; nobody is told.
  void Stop(int rank) { alive_[rank] = false; }

  // Polls everyone once, in random order, and moves the clock to the next arrival when nobody has
  // anything to do. False when nothing will ever happen again without a deadline.
  bool PollOnce();
  // Until all these are done, moving the clock by `patience` when only deadlines are left. False
  // when even then nothing happens.
  bool RunUntilDone(const std::vector<Work>& works, Duration patience = std::chrono::seconds(10));
  // What each rank's engine has said about lost peers.
  const std::vector<MemberProcess>& lost(int rank) const { return lost_[rank]; }

 private:
  ManualClock clock_;
  SeededRandom random_;
  std::vector<std::vector<std::unique_ptr<collectives::SimulatedLink>>> links_;  // [a][b], a < b
  std::vector<std::unique_ptr<collectives::Engine>> engines_;
  std::vector<bool> alive_;
  std::vector<std::vector<MemberProcess>> lost_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_COLLECTIVES_SIMULATED_WORLD_H_
