// Drives an engine while nobody waits for it.
#ifndef CLOSERANKS_COLLECTIVES_ENGINE_PROGRESS_THREAD_H_
#define CLOSERANKS_COLLECTIVES_ENGINE_PROGRESS_THREAD_H_

#include <thread>

#include "collectives/engine/engine.h"

namespace closeranks::collectives {

// Runs from its construction to its destruction. Sleeps in the kernel unless a peer moves; while
// callers wait for works, they drive and it keeps out of their way, so a loss that nobody waits for
// is noticed at once when no caller has waited lately, and within some milliseconds otherwise.
class ProgressThread {
 public:
  // `engine` outlives the thread. At most one for each engine.
  explicit ProgressThread(Engine& engine) : engine_(engine), thread_([this] { engine_.Serve(); }) {}
  ~ProgressThread() {
    engine_.StopServing();
    thread_.join();
  }
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

 private:
  Engine& engine_;
  std::thread thread_;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ENGINE_PROGRESS_THREAD_H_
