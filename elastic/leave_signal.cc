#include "elastic/leave_signal.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

#include "glog/logging.h"

namespace closeranks::elastic {
namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT};

// What a signal handler needs has no owner: it may run at any time.
std::atomic<int> event_of_handler{-1};
std::atomic<int> came_first{0};  // which signal; 0: none
static_assert(std::atomic<int>::is_always_lock_free);
std::array<struct sigaction, kSignals.size()> before;

void OnSignal(int signal) {
  const int error_before = errno;
  int none = 0;
  came_first.compare_exchange_strong(none, signal);
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(event_of_handler, &one, sizeof(one));
  errno = error_before;
}

}  // namespace

Result<std::unique_ptr<LeaveSignal>> LeaveSignal::TakeOver() {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return ErrnoStatus(errno, "taking over SIGTERM and SIGINT");
  return std::unique_ptr<LeaveSignal>(new LeaveSignal(std::move(event)));
}

LeaveSignal::LeaveSignal(UniqueFd event) : event_(std::move(event)) {
  CHECK_EQ(event_of_handler.exchange(event_.get()), -1) << "the signals are taken over already";
  came_first = 0;
  struct sigaction action {};
  action.sa_handler = OnSignal;
  // A read or write of the program's own isn't to fail of it.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &before[i]);
}

LeaveSignal::~LeaveSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
  event_of_handler = -1;
}

void LeaveSignal::EndProcess() const { kill(getpid(), came_first); }

bool LeaveSignal::came() const { return came_first != 0; }

}  // namespace closeranks::elastic
