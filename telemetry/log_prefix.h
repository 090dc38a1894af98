// Log lines that say where they come from: `gen=3 rank=1 op=8812` before every message, so that the
// logs of several workers can be merged and read.
#ifndef CLOSERANKS_TELEMETRY_LOG_PREFIX_H_
#define CLOSERANKS_TELEMETRY_LOG_PREFIX_H_

#include <atomic>
#include <cstdint>
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

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_LOG_PREFIX_H_
