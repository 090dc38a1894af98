#include "tests/multiprocess/job_process.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <set>

#include "base/files.h"
#include "base/open_files.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "telemetry/report/ledger_count.h"

namespace closeranks::testing_job {
namespace {

constexpr char kProgram[] = "cli/closeranks";
constexpr char kToyWorker[] = "tests/multiprocess/toy_worker";
// Nothing here takes seconds; this only keeps a hang from taking the whole test's time.
constexpr int kGuardMilliseconds = 60'000;
// As toy_worker.cc has them by default.
constexpr telemetry::LedgerExpectation kExpected = {120, 2};

telemetry::RunEvents Events(const std::string& folder) {
  SystemFiles files;
  auto events = telemetry::ReadEvents(files, folder);
  return events.ok() ? *std::move(events) : telemetry::RunEvents{};
}

telemetry::SupervisorEvents EventsOfSupervisor(const ReportFolder& folder, int supervisor) {
  // ReadEvents wants a worker's file beside the supervisor's.
  SystemFiles files;
  std::string path = folder.OfSupervisor(supervisor);
  EXPECT_TRUE(files.Replace(path + "/events.0.00000000.jsonl", "").ok());
  telemetry::RunEvents events = Events(path);
  return events.supervisor.value_or(telemetry::SupervisorEvents{});
}

}  // namespace

bool WaitUntilDead(pid_t pid) {
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return errno == ESRCH;
  pollfd ready = {process.get(), POLLIN, 0};
  return poll(&ready, 1, kGuardMilliseconds) == 1;
}

ReportFolder::ReportFolder() {
  static std::atomic<int> count{0};
  path_ = testing::TempDir() + "/job." + std::to_string(getpid()) + "." + std::to_string(count++);
  std::filesystem::create_directories(path_);
  // Workers whose supervisor was killed are ours to reap.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

ReportFolder::~ReportFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ReportFolder::Write(const std::string& name, const std::string& bytes) const {
  SystemFiles files;
  std::string path = path_ + "/" + name;
  EXPECT_TRUE(files.Replace(path, bytes).ok());
  return path;
}

Barrier::Barrier(const ReportFolder& folder, const std::string& name)
    : path_(folder.path() + "/" + name) {
  PCHECK(mkfifo(path_.c_str(), 0600) == 0);
}

void Barrier::Open() {
  // For reading too, so that it doesn't wait for a worker, and stays open for those who come later.
  fd_ = UniqueFd(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  PCHECK(fd_.get() >= 0);
}

JobProcess::JobProcess(const Words& flags, std::optional<rlimit> open_files) {
  std::array<int, 2> ends;
  PCHECK(pipe2(ends.data(), O_CLOEXEC) == 0);
  read_end_ = UniqueFd(ends[0]);
  UniqueFd write_end(ends[1]);
  Words words = {kProgram, "run"};
  words.insert(words.end(), flags.begin(), flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  PCHECK(pid_ >= 0);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(write_end.get(), STDOUT_FILENO);
    dup2(write_end.get(), STDERR_FILENO);
    if (open_files.has_value()) SetOpenFilesLimit(*open_files);
    execv(argv[0], argv.data());
    _exit(126);
  }
}

JobProcess::~JobProcess() {
  if (ended_) return;
  Signal(SIGKILL);
  Wait();
}

void JobProcess::Signal(int signal) const { kill(pid_, signal); }

bool JobProcess::ReadMore() {
  pollfd ready = {read_end_.get(), POLLIN, 0};
  if (poll(&ready, 1, kGuardMilliseconds) != 1) {
    ADD_FAILURE() << "nothing came for long; so far:\n" << output_;
    Signal(SIGKILL);
    return false;
  }
  std::array<char, 16 << 10> chunk;
  ssize_t got = read(read_end_.get(), chunk.data(), chunk.size());
  if (got <= 0) return false;
  output_.append(chunk.data(), static_cast<size_t>(got));
  return true;
}

bool JobProcess::WaitForOutput(const std::string& text) {
  while (true) {
    size_t found = output_.find(text, seen_);
    if (found != std::string::npos) {
      seen_ = found + text.size();
      return true;
    }
    if (!ReadMore()) break;
  }
  ADD_FAILURE() << "it never said '" << text << "':\n" << output_;
  return false;
}

int JobProcess::Wait() {
  if (ended_) return code_;
  while (read_end_ && ReadMore()) {
  }
  if (!WaitUntilDead(pid_)) Signal(SIGKILL);
  int status = 0;
  PCHECK(waitpid(pid_, &status, 0) == pid_);
  ended_ = true;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return code_;
}

Words RunFlags(const ReportFolder& folder, int n, const Words& supervisor, const Words& worker) {
  // A loaded machine is no reason to end a worker.
  Words words = {"--n=" + std::to_string(n), "--worker_timeout=60"};
  // What comes later wins.
  words.push_back("--report=" + folder.OfSupervisor());
  words.insert(words.end(), supervisor.begin(), supervisor.end());
  words.insert(words.end(), {"--", kToyWorker, "--report=" + folder.path()});
  words.insert(words.end(), worker.begin(), worker.end());
  return words;
}

std::string UniqueAddress() {
  static std::atomic<int> count{0};
  // The whole of 127.0.0.0/8 is this machine; pids don't repeat while they live.
  int number = getpid() * 16 + count++ % 16;
  return "127." + std::to_string(1 + (number >> 16) % 250) + "." +
         std::to_string((number >> 8) % 256) + "." + std::to_string(number % 256) + ":29400";
}

ReservedPort::ReservedPort() {
  // On [::], or on 0.0.0.0 where the kernel has no IPv6: the two forms begin alike. A socket that
  // doesn't listen leaves its port to those that say, as it does, that they share it.
  sockaddr_in6 at{};
  socklen_t size = sizeof(at);
  at.sin6_family = AF_INET6;
  fd_ = UniqueFd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd_) {
    at.sin6_family = AF_INET;
    size = sizeof(sockaddr_in);
    fd_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  const int yes = 1;
  PCHECK(setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
  PCHECK(bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
  PCHECK(getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
  number_ = ntohs(at.sin6_port);
}

Hosts::Hosts(const ReportFolder& folder, int hosts, int n)
    : folder_(folder), n_(n), key_file_(folder.Write("key", "0123456789abcdef0123456789abcdef")) {
  for (int host = 0; host < hosts; ++host) addresses_.push_back(UniqueAddress());
}

Words Hosts::Flags(int index, const Words& supervisor, const Words& worker) const {
  std::string hosts;
  for (const std::string& address : addresses_) hosts += (hosts.empty() ? "" : ",") + address;
  Words flags = {"--hosts=" + hosts, "--host_index=" + std::to_string(index),
                 "--key_file=" + key_file_, "--report=" + folder_.OfSupervisor(index)};
  flags.insert(flags.end(), supervisor.begin(), supervisor.end());
  return RunFlags(folder_, n_, flags, worker);
}

Words Hosts::FlagsByFolder(int index, const Words& supervisor, const Words& worker) const {
  Words flags = {"--hosts=file:" + folder_.path() + "/hosts",
                 "--host_count=" + std::to_string(addresses_.size()),
                 "--listen=" + addresses_[index]};
  flags.insert(flags.end(), supervisor.begin(), supervisor.end());
  return Flags(index, flags, worker);
}

int CountLines(const std::string& text, const std::string& part) {
  int lines = 0;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = std::min(text.find('\n', begin), text.size());
    if (text.substr(begin, end - begin).find(part) != std::string::npos) ++lines;
    begin = end + 1;
  }
  return lines;
}

void ExpectNoProcessLeft(const ReportFolder& folder, int supervisors) {
  for (int supervisor = 0; supervisor < supervisors; ++supervisor) {
    auto started = EventsOfSupervisor(folder, supervisor).started;
    EXPECT_FALSE(started.empty());
    for (const auto& worker : started) {
      EXPECT_TRUE(WaitUntilDead(worker.event.pid)) << "member " << worker.event.member;
      waitpid(worker.event.pid, nullptr, WNOHANG);
    }
  }
}

std::string ExpectTrained(const ReportFolder& folder, int at_end) {
  SystemFiles files;
  auto count = telemetry::CountLedgers(files, {folder.path()}, kExpected);
  EXPECT_TRUE(count.ok()) << count.status();
  if (!count.ok()) return "";
  EXPECT_TRUE(count->EachSampleOnce()) << telemetry::LedgerCountText(*count);
  EXPECT_EQ(count->missing_steps, 0);
  EXPECT_TRUE(count->conflicts.empty()) << telemetry::LedgerCountText(*count);
  std::set<std::string> hashes;
  int ends = 0;
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    if (!worker.end.has_value()) continue;
    ++ends;
    hashes.insert(worker.end->event.weights_sha256);
  }
  if (at_end >= 0) {
    EXPECT_EQ(ends, at_end);
  }
  EXPECT_EQ(hashes.size(), 1u);
  return hashes.size() == 1 ? *hashes.begin() : "";
}

const std::string& Undisturbed() {
  static const std::string* const hash = [] {
    ReportFolder folder;
    JobProcess job(RunFlags(folder, 1, {}, {}));
    EXPECT_EQ(job.Wait(), 0) << job.output();
    return new std::string(ExpectTrained(folder, 1));
  }();
  return *hash;
}

void ExpectNothingTrained(const ReportFolder& folder) {
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    EXPECT_TRUE(worker.commits.empty()) << "member " << worker.member;
  }
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    bool is_ledger = file.path().filename().string().starts_with("ledger.");
    EXPECT_TRUE(!is_ledger || file.file_size() == 0) << file.path();
  }
}

pid_t WorkerPid(const ReportFolder& folder, int member, int supervisor) {
  pid_t pid = -1;
  for (const auto& started : EventsOfSupervisor(folder, supervisor).started) {
    if (started.event.member == member) pid = started.event.pid;
  }
  return pid;
}

std::vector<telemetry::Timed<telemetry::WorkerExitEvent>> Exits(const ReportFolder& folder) {
  return EventsOfSupervisor(folder, 0).exits;
}

bool HasEnded(const ReportFolder& folder) { return EventsOfSupervisor(folder, 0).end.has_value(); }

int Suspicions(const ReportFolder& folder, int supervisor, int member) {
  const auto suspected = EventsOfSupervisor(folder, supervisor).suspected;
  return static_cast<int>(
      std::count_if(suspected.begin(), suspected.end(),
                    [&](const auto& suspicion) { return suspicion.event.member == member; }));
}

int Worlds(const ReportFolder& folder) {
  std::set<Generation> generations;
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    for (const auto& world : worker.worlds) generations.insert(world.event.gen);
  }
  return static_cast<int>(generations.size());
}

std::vector<telemetry::WorldEvent> WorldsOf(const ReportFolder& folder, int member) {
  std::vector<telemetry::WorldEvent> worlds;
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    if (worker.member != member) continue;
    worlds.clear();
    for (const auto& world : worker.worlds) worlds.push_back(world.event);
  }
  return worlds;
}

double Computed(const ReportFolder& folder) {
  double computed = 0;
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    for (const auto& metric : worker.metrics) {
      if (metric.event.name == "computed") computed += metric.event.value;
    }
  }
  return computed;
}

int64_t LastCommit(const ReportFolder& folder, int member) {
  StepNumber last = 0;
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    if (worker.member != member || worker.commits.empty()) continue;
    last = std::max(last, worker.commits.back().event.step);
  }
  return static_cast<int64_t>(last);
}

int Transfers(const ReportFolder& folder) {
  int transfers = 0;
  for (const telemetry::WorkerEvents& worker : Events(folder.path()).workers) {
    transfers += static_cast<int>(worker.transfers.size());
  }
  return transfers;
}

}  // namespace closeranks::testing_job
