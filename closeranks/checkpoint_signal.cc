#include "closeranks/checkpoint_signal.h"

#include <atomic>
#include <csignal>

namespace closeranks {
namespace {

// Signals are of the process, not of an object.
std::atomic<bool> came{false};
static_assert(std::atomic<bool>::is_always_lock_free, "the handler may only touch such");

void OnSignal(int) { came = true; }

}  // namespace

void HandleCheckpointSignal() {
  struct sigaction before {};
  if (sigaction(SIGUSR1, nullptr, &before) != 0 || before.sa_handler != SIG_DFL) return;
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
}

bool TakeCheckpointSignal() { return came.exchange(false); }

}  // namespace closeranks
