#include "net/loop_thread.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <mutex>

#include "glog/logging.h"

namespace closeranks::net {

SystemLoopThread::SystemLoopThread(const Clock& clock, const std::string& name) : loop_(clock) {
  // A new thread inherits the mask of who starts it; only so is it blocked from its first moment
  // on.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // A fault in this thread still has to reach the handler that prints its stack.
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, fault);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  thread_ = std::thread([this] { loop_.Run(); });
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

SystemLoopThread::~SystemLoopThread() {
  CHECK(!OnLoop()) << "a loop's thread can't join itself";
  loop_.Stop();
  thread_.join();
}

void SystemLoopThread::RunAndBlock(const std::function<void()>& function) {
  std::mutex mutex;
  std::condition_variable done;
  bool is_done = false;
  loop_.Post([&] {
    function();
    // Notified with the lock held: once it is free the waiter may destroy all three.
    std::lock_guard lock(mutex);
    is_done = true;
    done.notify_one();
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return is_done; });
}

}  // namespace closeranks::net
