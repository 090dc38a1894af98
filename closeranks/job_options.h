// Everything that can be set about a job from outside of the training program.
#ifndef CLOSERANKS_CLOSERANKS_JOB_OPTIONS_H_
#define CLOSERANKS_CLOSERANKS_JOB_OPTIONS_H_

#include <string>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "closeranks/environment.h"
#include "elastic/checkpoint/checkpointer.h"

namespace closeranks {

enum class Mode { kFast, kExact };
inline constexpr int kMostLogicalShards = 4096;
enum class TransportChoice { kAuto, kTcp, kShm };

struct JobOptions {
  Mode mode = Mode::kFast;
  int logical_shards = 0;  // 0: fast mode, or four for each worker that may compute
  uint64_t seed = 1;
  int threads = 1;                  // of libtorch, in each worker
  std::string report_folder;        // empty: no events, no ledger
  std::string checkpoint_folder;    // empty: no checkpoints
  StepNumber checkpoint_every = 0;  // steps; 0: at the end, and when asked
  int keep_checkpoints = 2;
  Duration checkpoint_timeout = std::chrono::minutes(10);
  elastic::Resume resume;
  Duration timeout = std::chrono::seconds(60);       // of a collective
  Duration step_timeout = std::chrono::seconds(60);  // zero: never
  StepNumber audit_every = 0;                        // steps; 0: never
  TransportChoice transport = TransportChoice::kAuto;
  Environment environment;
};

// From the flags (see closeranks --help) and the environment. Call once, before threads are
// started: parses and removes the flags from argv. kInvalidArgument names the flag, its value and
// what is expected.
Result<JobOptions> ParseJobOptions(int* argc, char*** argv);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_JOB_OPTIONS_H_
