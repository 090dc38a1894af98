#include "base/exit_code.h"

#include <array>

namespace closeranks {
namespace {

constexpr std::array kTable = {
    ExitCodeRow{ExitCode::kOk, "ok", "the job is done", "", false, 0},
    ExitCodeRow{ExitCode::kError, "error", "the program failed", "read the last lines of its log",
                true, 40},
    ExitCodeRow{ExitCode::kUsage, "usage", "a flag or an input is wrong",
                "mend what the message names", false, 90},
    ExitCodeRow{ExitCode::kLeft, "left", "it was asked to end, as by SIGTERM, and did", "", false,
                10},
    ExitCodeRow{
        ExitCode::kReplaced, "replaced",
        "a newer process of the same member, or another start of the run, has taken its place", "",
        false, 20},
    ExitCodeRow{ExitCode::kQuorumLost, "quorum_lost",
                "too few members were left for too long, or none that had the training state",
                "start the job again", false, 50},
    ExitCodeRow{ExitCode::kJoinTimeout, "join_timeout",
                "too few members came in time, or none let this one in",
                "check the addresses and the other members, or raise --join-timeout", false, 60},
    ExitCodeRow{ExitCode::kMismatch, "mismatch",
                "another build or configuration than the job's, or other weights at its end",
                "start every member from the same build with the same flags", false, 80},
    ExitCodeRow{ExitCode::kUnauthenticated, "unauthenticated", "the job's key is another one",
                "give every member the same key file", false, 85},
    ExitCodeRow{ExitCode::kNoResources, "no_resources",
                "a port, a folder, disk or descriptors ran out or are taken",
                "free what the message names", false, 65},
    ExitCodeRow{ExitCode::kPoison, "poison", "a part of the batch killed two ranks in a row",
                "look at the samples that the message names", false, 75},
};

}  // namespace

std::span<const ExitCodeRow> ExitCodeTable() { return kTable; }

const ExitCodeRow& FindExitCode(int code) {
  for (const ExitCodeRow& row : kTable) {
    if (static_cast<int>(row.code) == code) return row;
  }
  return FindExitCode(static_cast<int>(ExitCode::kError));
}

ExitCode ExitCodeFor(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return ExitCode::kOk;
    case StatusCode::kInvalidArgument:
      return ExitCode::kUsage;
    case StatusCode::kMismatch:
      return ExitCode::kMismatch;
    case StatusCode::kUnauthenticated:
      return ExitCode::kUnauthenticated;
    case StatusCode::kResourceExhausted:
      return ExitCode::kNoResources;
    case StatusCode::kStaleGeneration:
      return ExitCode::kReplaced;
    default:
      return ExitCode::kError;
  }
}

}  // namespace closeranks
