// Log lines that say where they come from: `gen=3 rank=1 op=8812` before every message, so that the
// logs of several workers can be merged and read.
#ifndef CLOSERANKS_TELEMETRY_LOG_PREFIX_H_
#define CLOSERANKS_TELEMETRY_LOG_PREFIX_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace closeranks::telemetry {

// Where this process stands, as its log lines show it. Each value is set by whoever knows it and
// read by every thread that logs; they needn't fit together to the nanosecond. Negative: not known,
// shown as "-".
struct LogPrefix {
  std::atomic<int64_t> generation{-1};
  std::atomic<int> rank{-1};
  std::atomic<int64_t> op_sequence{-1};

  // "gen=3 rank=1 op=-"
  std::string ToString() const;
};

// Sends this process's log to stderr, each line as
//   I 13:00:01.123456 4711 executor.cc:88] gen=3 rank=1 op=8812 message
// (severity, local time, thread, place). To be called once, in main, before other threads log.
// `prefix` is the caller's and must outlive the last log line; `argv0` is copied.
void InitLogging(const char* argv0, LogPrefix& prefix);

// While it lives, each line of the log goes to `take`, without its newline, instead of to stderr:
// for a program whose stderr has more to show. `take` runs on whichever thread logs, and must not
// log. A failed CHECK is written to stderr all the same. After InitLogging; one at a time.
class LogTap {
 public:
  explicit LogTap(std::function<void(const std::string& line)> take);
  ~LogTap();
  LogTap(const LogTap&) = delete;
  LogTap& operator=(const LogTap&) = delete;

 private:
  class Sink;
  std::unique_ptr<Sink> sink_;
};

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_LOG_PREFIX_H_
