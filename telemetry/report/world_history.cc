#include "telemetry/report/world_history.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace closeranks::telemetry {
namespace {

const Timed<CommitEvent>* FirstCommitFrom(const WorkerEvents& worker, Generation generation) {
  for (const Timed<CommitEvent>& commit : worker.commits) {
    if (commit.event.gen >= generation) return &commit;
  }
  return nullptr;
}

}  // namespace

const WorldEntry* WorldChange::FirstSurvivor() const {
  const WorldEntry* first = nullptr;
  auto moment = [](const WorldEntry& entry) {
    return entry.first_commit != nullptr ? std::pair(0, entry.first_commit->t)
                                         : std::pair(1, entry.world->t_rewired);
  };
  for (const WorldEntry& entry : entries) {
    if (entry.joined) continue;
    if (first == nullptr || moment(entry) < moment(*first)) first = &entry;
  }
  return first;
}

double WorldHistory::Seconds(TimePoint t) const {
  return std::chrono::duration<double>(t - training_began).count();
}

WorldHistory ReadWorldHistory(const RunEvents& events) {
  WorldHistory history;
  for (const WorkerEvents& worker : events.workers) {
    for (const Timed<WorldEvent>& timed : worker.worlds) {
      const WorldEvent& world = timed.event;
      WorldChange& change = history.changes[world.gen];
      change.entries.push_back({&worker, &world, FirstCommitFrom(worker, world.gen)});
      change.usable = std::min(change.usable, world.t_rewired);
      change.lost_members.insert(world.lost_members.begin(), world.lost_members.end());
      change.joined_members.insert(world.joined_members.begin(), world.joined_members.end());
      if (world.t_detected != TimePoint()) change.detected = true;
    }
  }
  for (auto& [generation, change] : history.changes) {
    for (WorldEntry& entry : change.entries) {
      entry.joined = change.joined_members.contains(entry.worker->member);
    }
  }
  if (!history.changes.empty()) history.training_began = history.changes.begin()->second.usable;
  return history;
}

}  // namespace closeranks::telemetry
