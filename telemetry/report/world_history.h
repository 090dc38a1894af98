// The worlds of a run, as all their workers describe them.
#ifndef CLOSERANKS_TELEMETRY_REPORT_WORLD_HISTORY_H_
#define CLOSERANKS_TELEMETRY_REPORT_WORLD_HISTORY_H_

#include <map>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "telemetry/report/event_reader.h"

namespace closeranks::telemetry {

// One worker's entry to a world. Points into the RunEvents that it was made from.
struct WorldEntry {
  const WorkerEvents* worker;
  const WorldEvent* world;
  const Timed<CommitEvent>* first_commit;  // in this world or a later one; null when there is none
  // It wasn't in the world before, as anybody in this one says: a joiner itself may not know.
  bool joined = false;
};

// What all its workers say about one generation.
struct WorldChange {
  std::vector<WorldEntry> entries;      // at least one
  TimePoint usable = TimePoint::max();  // by the first of them
  std::set<MemberId> lost_members;
  std::set<MemberId> joined_members;
  bool detected = false;  // somebody noticed a loss, so it wasn't a join or a leave

  // The one whose commit came first, or else the one that could use the world first, among those
  // who were in the world before; null when there are none.
  const WorldEntry* FirstSurvivor() const;
};

struct WorldHistory {
  std::map<Generation, WorldChange> changes;  // the first one is how the training began
  TimePoint training_began;                   // when the first world was usable

  // Since the training began.
  double Seconds(TimePoint t) const;
};

// Empty when no worker ever had a world. `events` must outlive the history.
WorldHistory ReadWorldHistory(const RunEvents& events);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_WORLD_HISTORY_H_
