#include "telemetry/report/recoveries.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/exit_code.h"

namespace closeranks::telemetry {
namespace {

double Milliseconds(TimePoint from, TimePoint to) { return ToMilliseconds(to - from); }

// When the job was without the process: as early as is known.
TimePoint LostAt(const Timed<WorkerExitEvent>& exit) {
  if (exit.event.t_heard != TimePoint()) return exit.event.t_heard;
  return exit.event.t_lost != TimePoint() ? exit.event.t_lost : exit.t;
}

// Of the process that ended, in its last world; -1 when it left no record of one.
int RankAt(const Timed<WorkerExitEvent>& exit, const RunEvents& events) {
  int rank = -1;
  for (const WorkerEvents& worker : events.workers) {
    bool is_it = worker.member == exit.event.member &&
                 exit.event.incarnation.starts_with(worker.incarnation8);
    if (is_it && !worker.worlds.empty()) rank = worker.worlds.back().event.rank;
  }
  return rank;
}

bool HasLeft(const WorkerExitEvent& exit) {
  return exit.signal == 0 && exit.code == static_cast<int>(ExitCode::kLeft);
}

class RecoveryFinder {
 public:
  RecoveryFinder(const WorldHistory& history, const RunEvents& events)
      : history_(history), events_(events) {}

  Losses Find(std::vector<std::string>& notes);

 private:
  using Changes = std::map<Generation, WorldChange>;
  using Kill = Timed<KillEvent>;

  std::vector<Recovery> Recoveries();
  std::optional<UnansweredKills> Unanswered() const;
  bool WentOn(const std::vector<const Kill*>& kills) const;
  std::vector<AbnormalExit> AbnormalExits() const;
  std::vector<const Kill*> TakeKills(const WorldChange& change);
  const WorkerEvents* LostProcess(Changes::const_iterator change, MemberId member) const;
  const Timed<WorkerExitEvent>* ExitOf(Changes::const_iterator change, MemberId member) const;
  const Timed<WorkerExitEvent>* LastExit(Changes::const_iterator change) const;
  bool AllHaveLeft(Changes::const_iterator change) const;
  // Sets where the clock starts, and returns it.
  TimePoint TimeLoss(Changes::const_iterator change, const std::vector<const Kill*>& kills,
                     TimePoint detected, Recovery& recovery) const;

  const WorldHistory& history_;
  const RunEvents& events_;
  std::set<const Kill*> taken_;     // kills that a change of the world has answered
  std::set<const Kill*> answered_;  // of those, the ones that a recovery followed
};

// The kills that this change answers: of members that it lost, and not answered by an earlier
// change.
std::vector<const Timed<KillEvent>*> RecoveryFinder::TakeKills(const WorldChange& change) {
  std::vector<const Kill*> kills;
  if (!events_.supervisor) return kills;
  for (const Kill& kill : events_.supervisor->kills) {
    if (!change.lost_members.contains(kill.event.member) || kill.t >= change.usable) continue;
    if (taken_.insert(&kill).second) kills.push_back(&kill);
  }
  return kills;
}

// The process of `member` that was in the worlds before `change`; null when it left no record of
// one.
const WorkerEvents* RecoveryFinder::LostProcess(Changes::const_iterator change,
                                                MemberId member) const {
  for (auto before = change; before != history_.changes.begin();) {
    --before;
    for (const WorldEntry& entry : before->second.entries) {
      if (entry.worker->member == member) return entry.worker;
    }
  }
  return nullptr;
}

// The end of the process of `member` that this change lost; null when it isn't on record.
const Timed<WorkerExitEvent>* RecoveryFinder::ExitOf(Changes::const_iterator change,
                                                     MemberId member) const {
  const WorkerEvents* process = LostProcess(change, member);
  // Without a name a process is only known by its time: one that ended before the training began,
  // or before the member last joined, is an earlier one.
  TimePoint joined = history_.training_began;
  for (auto before = history_.changes.begin(); before != change; ++before) {
    if (before->second.joined_members.contains(member)) joined = before->second.usable;
  }
  const Timed<WorkerExitEvent>* nameless = nullptr;
  for (const Timed<WorkerExitEvent>& exit : events_.supervisor->exits) {
    if (exit.event.member != member || LostAt(exit) >= change->second.usable) continue;
    const std::string& incarnation = exit.event.incarnation;
    if (process != nullptr && !incarnation.empty()) {
      if (incarnation.starts_with(process->incarnation8)) return &exit;
    } else if (exit.t >= joined && (nameless == nullptr || exit.t > nameless->t)) {
      nameless = &exit;
    }
  }
  return nameless;
}

// Of the members that this change lost the one that went last; null when none is on record.
const Timed<WorkerExitEvent>* RecoveryFinder::LastExit(Changes::const_iterator change) const {
  const Timed<WorkerExitEvent>* last = nullptr;
  if (!events_.supervisor) return last;
  for (MemberId member : change->second.lost_members) {
    const Timed<WorkerExitEvent>* exit = ExitOf(change, member);
    if (exit != nullptr && (last == nullptr || LostAt(*exit) > LostAt(*last))) last = exit;
  }
  return last;
}

// Whether all whom this change lost had been told to leave, and ended in good order.
bool RecoveryFinder::AllHaveLeft(Changes::const_iterator change) const {
  if (!events_.supervisor) return false;
  const std::set<MemberId>& lost = change->second.lost_members;
  return std::all_of(lost.begin(), lost.end(), [&](MemberId member) {
    const WorkerEvents* process = LostProcess(change, member);
    return process != nullptr &&
           std::any_of(events_.supervisor->exits.begin(), events_.supervisor->exits.end(),
                       [&](const Timed<WorkerExitEvent>& exit) {
                         return exit.event.member == member && HasLeft(exit.event) &&
                                exit.event.incarnation.starts_with(process->incarnation8);
                       });
  });
}

TimePoint RecoveryFinder::TimeLoss(Changes::const_iterator change,
                                   const std::vector<const Kill*>& kills, TimePoint detected,
                                   Recovery& recovery) const {
  if (!kills.empty()) {
    TimePoint last = kills.front()->t;
    for (const Kill* kill : kills) {
      last = std::max(last, kill->t);
      recovery.torn_step = std::max(recovery.torn_step, kill->event.step);
    }
    recovery.timed_from = LossTimedFrom::kKill;
    return last;
  }
  const Timed<WorkerExitEvent>* exit = LastExit(change);
  if (exit != nullptr) recovery.ended_for = exit->event.ended_for;
  if (exit == nullptr || LostAt(*exit) >= detected) {
    recovery.timed_from = LossTimedFrom::kDetection;
    return detected;
  }
  bool fell_silent = exit->event.t_heard != TimePoint();
  recovery.timed_from = fell_silent ? LossTimedFrom::kLastHeard : LossTimedFrom::kExit;
  return LostAt(*exit);
}

// When `survivor` noticed the loss; one that heard of it from another's proposal has noticed
// nothing itself, so then when the first of the others did.
TimePoint Detected(const WorldChange& change, const WorldEntry& survivor) {
  if (survivor.world->t_detected != TimePoint()) return survivor.world->t_detected;
  TimePoint first = TimePoint::max();
  for (const WorldEntry& entry : change.entries) {
    if (entry.world->t_detected != TimePoint()) first = std::min(first, entry.world->t_detected);
  }
  return first == TimePoint::max() ? survivor.world->t_decided : first;
}

Duration TransferTime(const WorldEvent& world) {
  return world.t_transfer_end - world.t_transfer_begin;
}

// To who joined after `generation` and before `until`.
Duration LaterTransfers(const WorkerEvents& worker, Generation generation, TimePoint until) {
  Duration sum{};
  for (const Timed<WorldEvent>& world : worker.worlds) {
    if (world.event.gen > generation && world.t <= until) sum += TransferTime(world.event);
  }
  return sum;
}

std::vector<Recovery> RecoveryFinder::Recoveries() {
  std::vector<Recovery> recoveries;
  for (auto it = history_.changes.begin(); it != history_.changes.end(); ++it) {
    const WorldChange& change = it->second;
    if (it == history_.changes.begin() || change.lost_members.empty()) continue;
    std::vector<const Kill*> kills = TakeKills(change);
    const WorldEntry* survivor = change.FirstSurvivor();
    if (survivor == nullptr) continue;
    if (kills.empty() && (!change.detected || AllHaveLeft(it))) continue;  // a leave

    answered_.insert(kills.begin(), kills.end());
    const WorldEvent& world = *survivor->world;
    Recovery recovery;
    TimePoint detected = Detected(change, *survivor);
    TimePoint lost = TimeLoss(it, kills, detected, recovery);
    if (recovery.torn_step == 0 && survivor->first_commit != nullptr) {
      recovery.torn_step = survivor->first_commit->event.step;
    }
    // Each moment no earlier than the one before it.
    TimePoint noticed = std::max(detected, lost);
    TimePoint decided = std::max(world.t_decided, noticed);
    TimePoint usable = std::max(world.t_rewired, decided);
    recovery.generation = it->first;
    recovery.lost_ranks = world.lost;
    recovery.lost_members.assign(change.lost_members.begin(), change.lost_members.end());
    recovery.survivors = world.size - static_cast<int>(change.joined_members.size());
    recovery.at_seconds = history_.Seconds(lost);
    recovery.usable_at_seconds = history_.Seconds(usable);
    recovery.detect_ms = Milliseconds(lost, noticed);
    recovery.agree_ms = Milliseconds(noticed, decided);
    recovery.rewire_ms = Milliseconds(decided, usable);
    TimePoint asked = std::max(world.t_asked, usable);
    TimePoint entered = std::max(world.t_entered, asked);
    recovery.catch_up_ms =
        ToMilliseconds(std::max(entered - asked - TransferTime(world), Duration::zero()));
    recovery.total_ms = Milliseconds(lost, usable) + recovery.catch_up_ms;
    if (survivor->first_commit != nullptr) {
      TimePoint commit = std::max(entered, survivor->first_commit->t);
      Duration joins = LaterTransfers(*survivor->worker, it->first, commit);
      recovery.replay_ms = ToMilliseconds(std::max(commit - entered - joins, Duration::zero()));
      recovery.commit_ms = Milliseconds(lost, commit);
    }
    recoveries.push_back(std::move(recovery));
  }
  return recoveries;
}

// Whether the run trained on after `kills`, by what the processes wrote that they didn't end.
bool RecoveryFinder::WentOn(const std::vector<const Kill*>& kills) const {
  TimePoint last;
  StepNumber step = 0;
  for (const Kill* kill : kills) {
    last = std::max(last, kill->t);
    step = std::max(step, kill->event.step);
  }
  return std::any_of(
      events_.workers.begin(), events_.workers.end(), [&](const WorkerEvents& worker) {
        bool killed = std::any_of(kills.begin(), kills.end(), [&](const Kill* kill) {
          return kill->event.member == worker.member && worker.start && worker.start->t < kill->t;
        });
        if (killed) return false;
        if (worker.end && worker.end->t > last) return true;
        return std::any_of(worker.commits.begin(), worker.commits.end(), [&](const auto& commit) {
          return commit.t > last && commit.event.step > step;
        });
      });
}

std::optional<UnansweredKills> RecoveryFinder::Unanswered() const {
  std::vector<const Kill*> kills;
  UnansweredKills unanswered;
  if (!events_.supervisor) return std::nullopt;
  for (const Kill& kill : events_.supervisor->kills) {
    if (answered_.contains(&kill)) continue;
    kills.push_back(&kill);
    unanswered.kills.push_back(
        {kill.event.member, kill.event.rank, kill.event.step, history_.Seconds(kill.t)});
  }
  if (kills.empty()) return std::nullopt;
  unanswered.went_on = WentOn(kills);
  return unanswered;
}

std::vector<AbnormalExit> RecoveryFinder::AbnormalExits() const {
  std::vector<AbnormalExit> abnormal;
  if (!events_.supervisor) return abnormal;
  // What the launcher ends after the job has ended is no loss.
  TimePoint end;
  for (const WorkerEvents& worker : events_.workers) {
    if (worker.end) end = std::max(end, worker.end->t);
  }
  if (end == TimePoint()) end = TimePoint::max();
  for (const Timed<WorkerExitEvent>& exit : events_.supervisor->exits) {
    if (exit.event.signal == 0 && (exit.event.code == 0 || HasLeft(exit.event))) continue;
    if (exit.t < history_.training_began || exit.t > end) continue;
    abnormal.push_back({exit.event.member, RankAt(exit, events_), exit.event.code,
                        exit.event.signal, exit.event.ended_for, history_.Seconds(exit.t)});
  }
  return abnormal;
}

Losses RecoveryFinder::Find(std::vector<std::string>& notes) {
  Losses losses;
  losses.recoveries = Recoveries();
  losses.unanswered = Unanswered();
  losses.abnormal_exits = AbnormalExits();
  if (events_.supervisor && taken_.size() < events_.supervisor->kills.size()) {
    notes.push_back("not every kill was followed by a change of the world");
  }
  return losses;
}

}  // namespace

std::string LossTimedFromName(LossTimedFrom from) {
  switch (from) {
    case LossTimedFrom::kKill:
      return "kill";
    case LossTimedFrom::kExit:
      return "exit";
    case LossTimedFrom::kLastHeard:
      return "last_heard";
    case LossTimedFrom::kDetection:
      break;
  }
  return "detection";
}

Losses FindLosses(const WorldHistory& history, const RunEvents& events,
                  std::vector<std::string>& notes) {
  return RecoveryFinder(history, events).Find(notes);
}

}  // namespace closeranks::telemetry
