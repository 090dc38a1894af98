// One worker process: its start, its output, its end.
#ifndef CLOSERANKS_LAUNCHER_CHILD_PROCESS_H_
#define CLOSERANKS_LAUNCHER_CHILD_PROCESS_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/event_loop.h"

namespace closeranks::launcher {

// How a process ended: with a code, or by a signal.
struct ExitResult {
  int code = 0;                // valid when signal == 0
  int signal = 0;              // 0: it exited by itself
  bool out_of_memory = false;  // it was the kernel that killed it, for want of memory
  // "exited with code 3", "was killed by signal 9 (Killed)"
  std::string ToString() const;
};

// Owns the process: SIGKILLed and reaped when this object goes while it runs; the kernel kills it
// too when this process dies. Lives on the loop's thread.
class ChildProcess {
 public:
  struct Options {
    std::vector<std::string> command;  // program and arguments; the program is looked up in PATH
    std::vector<std::pair<std::string, std::string>> environment;  // added to ours
    // Passed on under the number that the variable `passed_fd_variable` names.
    UniqueFd passed_fd;
    std::string passed_fd_variable;
    std::optional<rlimit> open_files;  // its limit; none: ours
  };
  // One whole line of the child's output, without the newline; `error` is set for standard error.
  using OnLine = std::function<void(std::string line, bool error)>;

  // kResourceExhausted when the system is short of descriptors, processes or memory. Doesn't wait
  // for the program, which may lie on a disk that is slow: see failure().
  static Result<std::unique_ptr<ChildProcess>> Start(Options options, net::EventLoop& loop,
                                                     OnLine on_line);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Why the program couldn't be executed: kInvalidArgument names it, and kResourceExhausted is as
  // that of Start. Ok: it was, or that isn't known yet; once the process was reaped it is.
  const Status& failure() const { return failure_; }
  // Harmless once it was reaped.
  void Signal(int signal);
  // Whether its program handles, blocks or ignores `signal`, whose default would end it. False
  // while it is still starting up, and where /proc doesn't say.
  bool IsReadyFor(int signal) const;

  // Whether it is stopped, as by SIGSTOP, at this moment.
  bool IsStopped() const;

  // Whether it is dumping its core at this moment, which may take long: it will not run again.
  bool IsDumpingCore() const;

  // Hands out what there is of its output, a last line without newline too. For one that is dead:
  // what processes of its own write later is lost.
  void ReadOutput();
  // The owner reaped it.
  void Reaped();

 private:
  struct Stream {
    UniqueFd fd;
    bool error = false;
    std::string partial;
  };

  ChildProcess(pid_t pid, std::string program, net::EventLoop& loop, OnLine on_line);
  // What became of executing the program.
  Status WatchReport(UniqueFd fd);
  void ReadReport();
  Status WatchOutput(UniqueFd fd, bool error);
  // Reads what there is, but at most `most` bytes; false at the end of the stream.
  bool ReadStream(Stream& stream, size_t most);
  void EndStream(Stream& stream);

  pid_t pid_;
  const std::string program_;
  UniqueFd report_;  // until it has said something
  Status failure_;
  bool reaped_ = false;
  net::EventLoop& loop_;
  OnLine on_line_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_CHILD_PROCESS_H_
