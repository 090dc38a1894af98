// What each loss cost the survivors.
#ifndef CLOSERANKS_TELEMETRY_REPORT_RECOVERIES_H_
#define CLOSERANKS_TELEMETRY_REPORT_RECOVERIES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/member.h"
#include "telemetry/report/event_reader.h"
#include "telemetry/report/world_history.h"

namespace closeranks::telemetry {

// Where a recovery's clock starts.
enum class LossTimedFrom {
  kKill,       // right before the launcher's kill(), the last one if it killed several
  kExit,       // a worker died, or was ended for another reason: when the launcher saw it go
  kLastHeard,  // it fell silent, and was ended for that: its last sign of life
  kDetection,  // neither is on record: when a survivor noticed, so that detect_ms is 0
};
// "kill", "exit", "last_heard" or "detection".
std::string LossTimedFromName(LossTimedFrom from);

// From the loss to the new world, as the survivor saw it whose commit in the new world came first:
//   loss - detect - agree - rewire - usable world, and where its training thread asks for it
//   usable and asked for - catch up - computing again - replay - that commit
// Until it asks, the training thread computes its own part to the end, which it would have had to
// do without the loss too: that is no part of the total. Nor is the transfer of the state to
// joiners, which belongs to their join. Each is at least 0: where several were killed one after
// another, a survivor may have noticed the first before the last.
struct Recovery {
  Generation generation = 0;        // the new world's
  std::vector<int32_t> lost_ranks;  // in the world before
  std::vector<int32_t> lost_members;
  int survivors = 0;
  LossTimedFrom timed_from = LossTimedFrom::kKill;
  std::string ended_for;         // why the launcher ended a lost one, not for a kill; or empty
  StepNumber torn_step = 0;      // the one that a lost worker was in, or that had to be replayed
  double at_seconds = 0;         // of the loss, since the training began
  double usable_at_seconds = 0;  // of the new world
  double detect_ms = 0;
  double agree_ms = 0;
  double rewire_ms = 0;
  // Records exchanged with every survivor, the last one to ask included, the missing step applied,
  // the rest divided.
  double catch_up_ms = 0;
  double total_ms = 0;  // detect + agree + rewire + catch_up
  // None: nothing was committed in the new world.
  std::optional<double> replay_ms;
  std::optional<double> commit_ms;  // all the time from the loss to that commit
};

struct UnansweredKill {
  MemberId member = -1;
  int rank = -1;  // -1: unknown
  StepNumber step = 0;
  double at_seconds = 0;  // since the training began
};

// Kills that no recovery answers.
struct UnansweredKills {
  std::vector<UnansweredKill> kills;
  bool went_on = false;  // a worker that wasn't killed did a later step or reached the end
};

// A process that ended by a signal, or with a code other than that of a good end or of a leave.
struct AbnormalExit {
  MemberId member = -1;
  int rank = -1;          // in its last world; -1: unknown
  int code = -1;          // or -1
  int signal = 0;         // or 0
  std::string ended_for;  // why the launcher ended it, or empty
  double at_seconds = 0;  // since the training began
};

struct Losses {
  std::vector<Recovery> recoveries;  // in order of generation; a planned leave is none
  std::optional<UnansweredKills> unanswered;
  // While the run trained, recovered from or not.
  std::vector<AbnormalExit> abnormal_exits;
};

// Adds to `notes` what a reader should know.
Losses FindLosses(const WorldHistory& history, const RunEvents& events,
                  std::vector<std::string>& notes);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_RECOVERIES_H_
