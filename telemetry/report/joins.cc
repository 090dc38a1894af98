#include "telemetry/report/joins.h"

#include <algorithm>
#include <utility>

namespace closeranks::telemetry {
namespace {

double Milliseconds(TimePoint from, TimePoint to) { return ToMilliseconds(to - from); }

// The launcher's record of the process's start; null when there is none.
const Timed<WorkerStartedEvent>* StartOf(const WorkerEvents& worker, TimePoint before,
                                         const RunEvents& events) {
  const Timed<WorkerStartedEvent>* found = nullptr;
  if (!events.supervisor) return found;
  for (const Timed<WorkerStartedEvent>& started : events.supervisor->started) {
    const std::string& incarnation = started.event.incarnation;
    if (started.event.member != worker.member || started.t > before) continue;
    if (!incarnation.empty() && !incarnation.starts_with(worker.incarnation8)) continue;
    if (found == nullptr || started.t > found->t) found = &started;
  }
  return found;
}

// When the process began, as well as it is known.
std::optional<TimePoint> Began(const WorldEntry& joiner, const RunEvents& events, Join& join,
                               std::vector<std::string>& notes) {
  const WorkerEvents& worker = *joiner.worker;
  const auto* process = StartOf(worker, joiner.world->t_rewired, events);
  if (process != nullptr) {
    if (worker.start) join.boot_ms = Milliseconds(process->t, worker.start->t);
    return process->t;
  }
  if (!worker.start) return std::nullopt;
  notes.push_back("the join of member " + std::to_string(worker.member) +
                  " is timed from its own first record, without its process's start");
  return worker.start->t;
}

Join FindJoin(const WorldHistory& history, const RunEvents& events, const WorldChange& change,
              MemberId member, std::vector<std::string>& notes) {
  Join join;
  join.member = member;
  const WorldEntry* joiner = nullptr;
  for (const WorldEntry& entry : change.entries) {
    if (entry.worker->member == member && entry.joined) joiner = &entry;
  }
  const WorldEvent& world = joiner != nullptr ? *joiner->world : *change.entries.front().world;
  auto place = std::find(world.members.begin(), world.members.end(), member);
  if (place != world.members.end()) join.rank = static_cast<int>(place - world.members.begin());
  join.joined_at_seconds = join.started_at_seconds = history.Seconds(change.usable);
  if (joiner == nullptr) {
    notes.push_back("member " + std::to_string(member) +
                    " was admitted, but left no record of its join");
    return join;
  }
  std::optional<TimePoint> began = Began(*joiner, events, join, notes);
  if (began) join.started_at_seconds = history.Seconds(*began);
  for (const Timed<TransferEvent>& transfer : joiner->worker->transfers) {
    join.transfer_ms =
        join.transfer_ms.value_or(0) + Milliseconds(transfer.event.t_begin, transfer.event.t_end);
    join.transfer_bytes += transfer.event.bytes;
  }
  if (joiner->first_commit != nullptr) {
    join.first_step = joiner->first_commit->event.step;
    join.joined_at_seconds = history.Seconds(joiner->first_commit->t);
    if (began) join.total_ms = Milliseconds(*began, joiner->first_commit->t);
  }
  return join;
}

}  // namespace

std::vector<Join> FindJoins(const WorldHistory& history, const RunEvents& events,
                            std::vector<std::string>& notes) {
  std::vector<Join> joins;
  for (auto it = history.changes.begin(); it != history.changes.end(); ++it) {
    if (it == history.changes.begin()) continue;
    for (MemberId member : it->second.joined_members) {
      joins.push_back(FindJoin(history, events, it->second, member, notes));
      joins.back().generation = it->first;
    }
  }
  return joins;
}

}  // namespace closeranks::telemetry
