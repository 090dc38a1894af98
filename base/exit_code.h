// The exit codes of every program of Closeranks: the one table that the supervisor's restart rule,
// the docs and the manifests' podFailurePolicy are made from.
#ifndef CLOSERANKS_BASE_EXIT_CODE_H_
#define CLOSERANKS_BASE_EXIT_CODE_H_

#include <span>
#include <string_view>

#include "base/status.h"

namespace closeranks {

enum class ExitCode : int {
  kOk = 0,
  kError = 1,             // an uncaught exception or an error with no code of its own
  kUsage = 2,             // unknown or contradictory flags, bad input
  kLeft = 80,             // asked to end, as by SIGTERM, and did
  kReplaced = 81,         // a newer process of the same member, or another start, took over
  kQuorumLost = 82,       // too few members, or none with the state: start the job again
  kJoinTimeout = 83,      // too few members came, or none let this one in
  kMismatch = 84,         // another build or configuration than the job's
  kUnauthenticated = 85,  // not the job's key
  kNoResources = 86,      // port or folder taken, disk full, out of descriptors
  kPoison = 87,           // a part of the batch killed two ranks in a row
};

struct ExitCodeRow {
  ExitCode code;
  std::string_view name;
  std::string_view meaning;
  std::string_view remedy;
  bool restart;  // whether the supervisor starts a worker again that ends with it
  int severity;  // the supervisor ends with the code of the highest severity
};

// Every exit code, in ascending order of number.
std::span<const ExitCodeRow> ExitCodeTable();

// The row of `code`; the row of kError for numbers that aren't in the table.
const ExitCodeRow& FindExitCode(int code);

// What a program that ends because of `status` exits with.
ExitCode ExitCodeFor(const Status& status);

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_EXIT_CODE_H_
