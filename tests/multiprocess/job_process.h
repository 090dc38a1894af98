// A `closeranks run` of toy workers, for tests: real processes, and what they leave behind.
#ifndef CLOSERANKS_TESTS_MULTIPROCESS_JOB_PROCESS_H_
#define CLOSERANKS_TESTS_MULTIPROCESS_JOB_PROCESS_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/unique_fd.h"
#include "telemetry/report/event_reader.h"

namespace closeranks::testing_job {

using Words = std::vector<std::string>;

// What a JobProcess ends with.
inline constexpr int kError = static_cast<int>(ExitCode::kError);
inline constexpr int kUsage = static_cast<int>(ExitCode::kUsage);
inline constexpr int kLeft = static_cast<int>(ExitCode::kLeft);
inline constexpr int kReplaced = static_cast<int>(ExitCode::kReplaced);
inline constexpr int kQuorumLost = static_cast<int>(ExitCode::kQuorumLost);
inline constexpr int kJoinTimeout = static_cast<int>(ExitCode::kJoinTimeout);
inline constexpr int kMismatch = static_cast<int>(ExitCode::kMismatch);
inline constexpr int kUnauthenticated = static_cast<int>(ExitCode::kUnauthenticated);
inline constexpr int kNoResources = static_cast<int>(ExitCode::kNoResources);
inline constexpr int kPoison = static_cast<int>(ExitCode::kPoison);

// A folder of its own for each test, removed at its end.
class ReportFolder {
 public:
  ReportFolder();
  ~ReportFolder();
  ReportFolder(const ReportFolder&) = delete;
  ReportFolder& operator=(const ReportFolder&) = delete;

  // Of the workers.
  const std::string& path() const { return path_; }
  // Of the supervisor of host `index`.
  std::string OfSupervisor(int index = 0) const {
    return path_ + "/supervisor." + std::to_string(index);
  }
  // A file with these bytes in it.
  std::string Write(const std::string& name, const std::string& bytes) const;

 private:
  std::string path_;
};

// Where workers with --pause_at stay until it opens.
class Barrier {
 public:
  explicit Barrier(const ReportFolder& folder, const std::string& name = "barrier");
  const std::string& path() const { return path_; }
  void Open();

 private:
  std::string path_;
  UniqueFd fd_;
};

// One supervisor and its workers. Killed with all of them when this goes before its end.
class JobProcess {
 public:
  // `closeranks run FLAGS`; what is to be run belongs to them.
  explicit JobProcess(const Words& flags) : JobProcess(flags, std::nullopt) {}
  // With this limit of open files, soft and hard.
  JobProcess(const Words& flags, std::optional<rlimit> open_files);
  ~JobProcess();
  JobProcess(const JobProcess&) = delete;
  JobProcess& operator=(const JobProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Blocks until the output, of the supervisor and its workers, has `text` in it; what was seen
  // before doesn't count again. False, and a failure of the test, when it ends without.
  bool WaitForOutput(const std::string& text);
  // Nobody reads its output any more.
  void StopReading() { read_end_.Reset(); }
  // Blocks until it has ended. Its exit code, or minus the signal that ended it. A failure of the
  // test when that takes unreasonably long.
  int Wait();
  // What came so far.
  const std::string& output() const { return output_; }

 private:
  // False at the end of the output.
  bool ReadMore();

  pid_t pid_;
  UniqueFd read_end_;
  std::string output_;
  size_t seen_ = 0;
  bool ended_ = false;
  int code_ = 0;
};

// `closeranks run` of `n` toy workers with these further flags.
Words RunFlags(const ReportFolder& folder, int n, const Words& supervisor, const Words& worker);

// An address of this machine that no other test uses at the same time, as "127.1.2.3:29400".
std::string UniqueAddress();

// A port that no other process gets, of every address of this machine, as long as this is there.
class ReservedPort {
 public:
  ReservedPort();
  uint16_t number() const { return number_; }

 private:
  UniqueFd fd_;
  uint16_t number_ = 0;
};

// Flags of `closeranks run` for each of several hosts with `n` toy workers each.
class Hosts {
 public:
  Hosts(const ReportFolder& folder, int hosts, int n);
  Words Flags(int index, const Words& supervisor, const Words& worker) const;
  // The same, but that they find each other by what each leaves in a folder that they share.
  Words FlagsByFolder(int index, const Words& supervisor, const Words& worker) const;
  const std::string& address(int index) const { return addresses_[index]; }

 private:
  const ReportFolder& folder_;
  int n_;
  std::string key_file_;
  Words addresses_;
};

// How many lines of `text` have `part` in them.
int CountLines(const std::string& text, const std::string& part);

// A failure of the test unless every process that the supervisors of the folder started is gone.
void ExpectNoProcessLeft(const ReportFolder& folder, int supervisors = 1);

// What the run came to, by its records: every sample once, all who came to the end agree. The hash
// of their weights; empty, with failures of the test, when that isn't so. `at_end` of them, if it
// isn't -1.
std::string ExpectTrained(const ReportFolder& folder, int at_end = -1);

// What one rank alone comes to with no flags of its own. Trained once for each test program.
const std::string& Undisturbed();
// Failures of the test for every step that any worker has committed or noted in its ledger.
void ExpectNothingTrained(const ReportFolder& folder);
// The pid of member `member`'s newest worker, or -1.
pid_t WorkerPid(const ReportFolder& folder, int member, int supervisor = 0);
// Blocks until the process has ended, reaped or not; false when that takes unreasonably long.
bool WaitUntilDead(pid_t pid);
// How its workers ended, by the supervisor's record.
std::vector<telemetry::Timed<telemetry::WorkerExitEvent>> Exits(const ReportFolder& folder);
// Whether the supervisor's record tells its end.
bool HasEnded(const ReportFolder& folder);
// How often the supervisor of this host suspected the one of `member`.
int Suspicions(const ReportFolder& folder, int supervisor, int member);
// How many worlds any worker saw.
int Worlds(const ReportFolder& folder);
// The worlds of this member, which had one worker only, in their order.
std::vector<telemetry::WorldEvent> WorldsOf(const ReportFolder& folder, int member);
// How many samples all workers computed, of those that came to an end of their own.
double Computed(const ReportFolder& folder);
// The last step that any worker of this member committed; 0: none.
int64_t LastCommit(const ReportFolder& folder, int member);
// How many workers received state.
int Transfers(const ReportFolder& folder);

}  // namespace closeranks::testing_job

#endif  // CLOSERANKS_TESTS_MULTIPROCESS_JOB_PROCESS_H_
