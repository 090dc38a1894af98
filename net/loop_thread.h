// An event loop and the thread that runs it.
#ifndef CLOSERANKS_NET_LOOP_THREAD_H_
#define CLOSERANKS_NET_LOOP_THREAD_H_

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/clock.h"
#include "net/event_loop.h"

namespace closeranks::net {

// Owned by an object made in main or in the bindings, and passed by reference. What lives on the
// loop (links, listeners, watches) is made and destroyed on the loop, before the LoopThread goes.
class LoopThread {
 public:
  // Runs what was posted before, then stops and joins the thread. Not on the loop itself.
  virtual ~LoopThread() = default;

  // Post and Stop apart, only for code that runs on the loop.
  virtual Loop& loop() = 0;

  virtual bool OnLoop() const = 0;

  // Runs `function` on the loop, some time soon. Any thread.
  virtual void RunInLoop(std::function<void()> function) = 0;

  // Runs `function` on the loop and returns what it returns when it is through; at once when this
  // is the loop. Any thread that holds nothing that the loop waits for.
  template <typename Function>
  auto RunAndWait(Function function) -> std::invoke_result_t<Function> {
    using Value = std::invoke_result_t<Function>;
    if (OnLoop()) return function();
    if constexpr (std::is_void_v<Value>) {
      RunAndBlock(function);
    } else {
      std::optional<Value> value;
      RunAndBlock([&] { value.emplace(function()); });
      return *std::move(value);
    }
  }

 private:
  // Any thread but the loop's.
  virtual void RunAndBlock(const std::function<void()>& function) = 0;
};

class SystemLoopThread final : public LoopThread {
 public:
  // Starts the thread. `clock` outlives it. `name` is what tools show; the kernel keeps 15 letters.
  // The thread blocks all signals, except those of its own faults: they are for the program's main
  // thread.
  SystemLoopThread(const Clock& clock, const std::string& name);
  ~SystemLoopThread() override;
  SystemLoopThread(const SystemLoopThread&) = delete;
  SystemLoopThread& operator=(const SystemLoopThread&) = delete;

  EventLoop& loop() override { return loop_; }
  bool OnLoop() const override { return std::this_thread::get_id() == thread_.get_id(); }
  void RunInLoop(std::function<void()> function) override { loop_.Post(std::move(function)); }

 private:
  void RunAndBlock(const std::function<void()>& function) override;

  EventLoop loop_;
  std::thread thread_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_LOOP_THREAD_H_
