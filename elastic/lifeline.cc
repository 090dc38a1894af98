#include "elastic/lifeline.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <future>
#include <limits>

namespace closeranks::elastic {
namespace {

// In this thread's own table: closes everything but `a` and `b`.
bool CloseAllBut(int a, int b) {
  auto close_range = [](unsigned int first, unsigned int last) {
    return first > last || syscall(SYS_close_range, first, last, 0) == 0;
  };
  unsigned int low = static_cast<unsigned int>(std::min(a, b));
  unsigned int high = static_cast<unsigned int>(std::max(a, b));
  return (low == 0 || close_range(0, low - 1)) && close_range(low + 1, high - 1) &&
         close_range(high + 1, std::numeric_limits<unsigned int>::max());
}

// The thread's whole life. `ready` hears whether it has its own table.
void Hold(int write_end, int stop, std::promise<Status> ready) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  if (unshare(CLONE_FILES) != 0) {
    ready.set_value(Unavailable("no descriptor table of its own for a thread"));
    return;
  }
  if (!CloseAllBut(write_end, stop)) {
    ready.set_value(Unavailable("the descriptors of a thread can't be closed"));
    return;
  }
  ready.set_value(OkStatus());
  uint64_t word;
  while (read(stop, &word, sizeof(word)) < 0 && errno == EINTR) {
  }
}

}  // namespace

Result<std::unique_ptr<Lifeline>> Lifeline::Make() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "making a pipe");
  std::unique_ptr<Lifeline> lifeline(new Lifeline());
  lifeline->read_end_ = UniqueFd(ends[0]);
  UniqueFd write_end(ends[1]);
  lifeline->stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!lifeline->stop_) return ErrnoStatus(errno, "making an eventfd");
  std::promise<Status> ready;
  std::future<Status> is_ready = ready.get_future();
  lifeline->thread_ = std::thread(Hold, write_end.get(), lifeline->stop_.get(), std::move(ready));
  // Ours closes with `write_end`, and the thread's is then the only one.
  RETURN_IF_ERROR(is_ready.get());
  return lifeline;
}

Lifeline::~Lifeline() {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = write(stop_.get(), &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
}

}  // namespace closeranks::elastic
