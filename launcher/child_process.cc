#include "launcher/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/open_files.h"

namespace closeranks::launcher {
namespace {

// A line longer than this is handed out in pieces, so that a child can't make us hold more.
constexpr size_t kMaxLine = 64 << 10;
// Who writes faster than we read must not keep the loop from its other work.
constexpr size_t kMostAtOnce = 256 << 10;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> MakePipe() {
  std::array<int, 2> fds;
  if (pipe2(fds.data(), O_CLOEXEC) != 0) return ErrnoStatus(errno, "making a pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Not about the program: something that it or we need ran out.
bool IsShortage(int error_number) {
  return error_number == EAGAIN || error_number == EMFILE || error_number == ENFILE ||
         error_number == ENOMEM;
}

Status StartStatus(int error_number, const std::string& program) {
  if (error_number == EAGAIN) {
    return ResourceExhausted("starting '" + program +
                             "': no more processes are allowed (ulimit -u, or the container's "
                             "limit of pids)");
  }
  if (IsShortage(error_number)) return ErrnoStatus(error_number, "starting '" + program + "'");
  return InvalidArgument("can't run '" + program + "': " + std::strerror(error_number));
}

// In the child, after fork: only async-signal-safe calls. Doesn't return.
[[noreturn]] void ExecuteChild(char* const* argv, char* const* environment, int out, int error,
                               int passed, const rlimit* open_files, int report, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // the supervisor died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // SIGPIPE is ignored here, and a shell's background jobs begin with others ignored: programs
  // expect the defaults, are to be ended by what their supervisor passes on, and want to hear of
  // the end of processes of their own.
  for (int number : {SIGPIPE, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD}) signal(number, SIG_DFL);
  dup2(out, STDOUT_FILENO);
  dup2(error, STDERR_FILENO);
  if (passed >= 0) fcntl(passed, F_SETFD, 0);
  if (open_files != nullptr) SetOpenFilesLimit(*open_files);
  execvpe(argv[0], argv, environment);
  int failure = errno;
  [[maybe_unused]] ssize_t written = write(report, &failure, sizeof(failure));
  _exit(127);
}

std::vector<std::string> MergedEnvironment(const ChildProcess::Options& options) {
  std::vector<std::string> merged;
  auto replaced = [&](std::string_view entry) {
    for (const auto& [name, value] : options.environment) {
      if (entry.starts_with(name + "=")) return true;
    }
    return entry.starts_with(options.passed_fd_variable + "=");
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!replaced(*entry)) merged.emplace_back(*entry);
  }
  for (const auto& [name, value] : options.environment) merged.push_back(name + "=" + value);
  if (options.passed_fd) {
    merged.push_back(options.passed_fd_variable + "=" + std::to_string(options.passed_fd.get()));
  }
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::string ExitResult::ToString() const {
  if (signal == 0) return "exited with code " + std::to_string(code);
  return "was killed by signal " + std::to_string(signal) + " (" + strsignal(signal) + ")" +
         (out_of_memory ? " as memory ran out" : "");
}

ChildProcess::ChildProcess(pid_t pid, std::string program, net::EventLoop& loop, OnLine on_line)
    : pid_(pid), program_(std::move(program)), loop_(loop), on_line_(std::move(on_line)) {}

Result<std::unique_ptr<ChildProcess>> ChildProcess::Start(Options options, net::EventLoop& loop,
                                                          OnLine on_line) {
  if (options.command.empty()) return InvalidArgument("there is no program to run");
  ASSIGN_OR_RETURN(Pipe out, MakePipe());
  ASSIGN_OR_RETURN(Pipe error, MakePipe());
  ASSIGN_OR_RETURN(Pipe report, MakePipe());
  std::vector<std::string> environment = MergedEnvironment(options);
  std::vector<char*> environment_pointers = Pointers(environment);
  std::vector<char*> argv = Pointers(options.command);

  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid < 0) return StartStatus(errno, options.command[0]);
  if (pid == 0) {
    ExecuteChild(argv.data(), environment_pointers.data(), out.write_end.get(),
                 error.write_end.get(), options.passed_fd.get(),
                 options.open_files.has_value() ? &*options.open_files : nullptr,
                 report.write_end.get(), parent);
  }
  std::unique_ptr<ChildProcess> child(
      new ChildProcess(pid, options.command[0], loop, std::move(on_line)));
  RETURN_IF_ERROR(child->WatchReport(std::move(report.read_end)));
  RETURN_IF_ERROR(child->WatchOutput(std::move(out.read_end), false));
  RETURN_IF_ERROR(child->WatchOutput(std::move(error.read_end), true));
  return child;
}

ChildProcess::~ChildProcess() {
  if (report_) loop_.Unwatch(report_.get());
  for (auto& stream : streams_) {
    if (stream->fd) loop_.Unwatch(stream->fd.get());
  }
  if (reaped_) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::Signal(int signal) {
  if (!reaped_) kill(pid_, signal);
}

bool ChildProcess::IsReadyFor(int signal) const {
  if (reaped_ || report_) return false;
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    // "SigCgt:\t0000000000000600": bit 0 is signal 1.
    if (!line.starts_with("SigBlk:") && !line.starts_with("SigIgn:") &&
        !line.starts_with("SigCgt:")) {
      continue;
    }
    uint64_t set = std::strtoull(line.c_str() + std::strlen("SigCgt:"), nullptr, 16);
    if ((set >> (signal - 1) & 1) != 0) return true;
  }
  return false;
}

bool ChildProcess::IsStopped() const {
  siginfo_t info{};
  // Doesn't take the news away, so that it can be asked for again.
  return !reaped_ &&
         waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

bool ChildProcess::IsDumpingCore() const {
  if (reaped_) return false;
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CoreDumping:")) return line.ends_with('1');
  }
  return false;
}

void ChildProcess::Reaped() {
  reaped_ = true;
  if (report_) ReadReport();
  ReadOutput();
}

void ChildProcess::ReadOutput() {
  for (auto& stream : streams_) {
    // A grandchild may hold the pipe open and go on writing: take what is there, and no more.
    int there = 0;
    if (!stream->fd || ioctl(stream->fd.get(), FIONREAD, &there) != 0) continue;
    if (ReadStream(*stream, static_cast<size_t>(there))) EndStream(*stream);
  }
}

Status ChildProcess::WatchReport(UniqueFd fd) {
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  report_ = std::move(fd);
  return loop_.Watch(report_.get(), {.readable = true}, [this](net::Ready) { ReadReport(); });
}

// It closes without a word when the program is executed.
void ChildProcess::ReadReport() {
  int error_number = 0;
  const ssize_t got = read(report_.get(), &error_number, sizeof(error_number));
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) failure_ = StartStatus(error_number, program_);
  loop_.Unwatch(report_.get());
  report_.Reset();
}

Status ChildProcess::WatchOutput(UniqueFd fd, bool error) {
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  streams_.push_back(std::make_unique<Stream>(Stream{std::move(fd), error, {}}));
  Stream* stream = streams_.back().get();
  return loop_.Watch(stream->fd.get(), {.readable = true},
                     [this, stream](net::Ready) { ReadStream(*stream, kMostAtOnce); });
}

bool ChildProcess::ReadStream(Stream& stream, size_t most) {
  std::array<char, 16 << 10> chunk;
  while (most > 0) {
    ssize_t got = read(stream.fd.get(), chunk.data(), std::min(most, chunk.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      EndStream(stream);
      return false;
    }
    most -= static_cast<size_t>(got);
    std::string_view rest(chunk.data(), static_cast<size_t>(got));
    while (!rest.empty()) {
      size_t newline = rest.find('\n');
      stream.partial.append(rest.substr(0, newline));
      bool whole = newline != std::string_view::npos;
      rest.remove_prefix(whole ? newline + 1 : rest.size());
      if (whole || stream.partial.size() > kMaxLine) {
        on_line_(std::exchange(stream.partial, {}), stream.error);
      }
    }
  }
  return true;
}

void ChildProcess::EndStream(Stream& stream) {
  if (!stream.partial.empty()) on_line_(std::exchange(stream.partial, {}), stream.error);
  loop_.Unwatch(stream.fd.get());
  stream.fd.Reset();
}

}  // namespace closeranks::launcher
