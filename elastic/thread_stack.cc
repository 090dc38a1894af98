#include "elastic/thread_stack.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace closeranks::elastic {
namespace {

// Away from both ends of the range, where programs look first.
int StackSignal() { return SIGRTMIN + 11; }

// The handler itself, and what the kernel puts between it and the thread's own frames.
constexpr int kFramesOfHandler = 2;
constexpr int kMostFrames = 64;

enum State : int { kIdle, kAsked, kWriting, kAnswered };

// What a signal handler needs has no owner: it may run at any time.
std::atomic<int> state{kIdle};
std::array<void*, kMostFrames> frames;
int frame_count = 0;
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int) {
  const int error_before = errno;
  int asked = kAsked;
  if (state.compare_exchange_strong(asked, kWriting)) {
    frame_count = backtrace(frames.data(), kMostFrames);
    state = kAnswered;
  }
  errno = error_before;
}

// Whether the signal is ours, now at the latest.
bool TakeSignal() {
  struct sigaction before {};
  if (sigaction(StackSignal(), nullptr, &before) != 0) return false;
  if (before.sa_handler == OnSignal) return true;
  if (before.sa_handler != SIG_DFL) return false;
  // The first call loads a library, which a handler must not.
  std::array<void*, 1> first;
  backtrace(first.data(), 1);
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  return sigaction(StackSignal(), &action, nullptr) == 0;
}

std::string FrameText(void* address) {
  std::array<char, 64> digits;
  Dl_info info{};
  // A return address may lie behind the function's end.
  if (dladdr(static_cast<char*>(address) - 1, &info) == 0) {
    std::snprintf(digits.data(), digits.size(), "%p", address);
    return digits.data();
  }
  const std::string_view path = info.dli_fname == nullptr ? "" : info.dli_fname;
  const std::string module(path.substr(path.rfind('/') + 1));
  const void* const base = info.dli_sname == nullptr ? info.dli_fbase : info.dli_saddr;
  std::snprintf(
      digits.data(), digits.size(), "+0x%zx",
      static_cast<size_t>(static_cast<const char*>(address) - static_cast<const char*>(base)));
  if (info.dli_sname == nullptr) return module + digits.data();
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), std::free);
  return (status == 0 ? name.get() : info.dli_sname) + std::string(" (") + module + ")";
}

}  // namespace

pid_t ThisThread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

void AskForStack(pid_t thread) {
  int idle = kIdle;
  if (!TakeSignal() || !state.compare_exchange_strong(idle, kAsked)) return;
  syscall(SYS_tgkill, getpid(), thread, StackSignal());
}

std::optional<std::string> TakeStack() {
  if (state != kAnswered) return std::nullopt;
  std::string text;
  for (int i = kFramesOfHandler; i < frame_count; ++i) {
    text += (text.empty() ? "" : "\n") + std::string("    ") + FrameText(frames[i]);
  }
  state = kIdle;
  return text;
}

void GiveUpStack() {
  // Who is just writing is read, or forgotten, by the next to come here.
  int asked = kAsked;
  if (!state.compare_exchange_strong(asked, kIdle) && state == kAnswered) state = kIdle;
}

}  // namespace closeranks::elastic
