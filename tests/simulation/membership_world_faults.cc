// What a seed does to a job, and what a job must come to afterwards.
#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

#include "tests/simulation/membership_world.h"

namespace closeranks::simulation {

using rendezvous::DecisionRef;
using rendezvous::ListedMember;
using rendezvous::Membership;
using rendezvous::Outcome;

namespace {

enum FaultKind {
  kKillWorker,
  kKillPod,
  kPausePod,
  kPauseWorker,
  kPartition,
  kCutLink,
  kClockStep,
  kLeave,
  kAddMember,
  kReplacePod,
  kStartTwin,
  kSpuriousLinkDown,
  kReportBrokenLink,
  kKillTwo,
  kFaultKinds,
};

}  // namespace

MembershipWorld::Character MembershipWorld::Draw() {
  Character character;
  character.members = 2 + static_cast<int>(Below(6));
  const bool has_witness = character.members > 2 && OneIn(5);
  // So few that not everybody knows everybody.
  if (OneIn(2)) character.watchers = 1 + static_cast<int>(Below(4));
  character.terms_differ = OneIn(12);
  character.encodes = OneIn(8);
  character.restarts = !OneIn(3);
  character.initial_state = OneIn(4);
  if (OneIn(5)) character.last_step = 5 + Below(60);
  character.mean_fault_gap = std::chrono::milliseconds(100 + Below(1500));
  // A slow network with many faults hits the protocol between any two of its messages.
  if (OneIn(3)) character.slowest_us = 2'000 + static_cast<int64_t>(Below(80'000));
  if (OneIn(4)) character.mean_fault_gap = std::chrono::milliseconds(20 + Below(150));
  if (OneIn(3)) character.slow_freeze = Between(1'000, 900'000);
  if (OneIn(2)) character.drop_one_in = 5 + Below(100);
  if (OneIn(3)) character.duplicate_one_in = 3 + Below(50);
  if (OneIn(2)) character.delay_one_in = 4 + Below(100);
  if (OneIn(2)) {
    character.strike_one_in = 4 + Below(60);
    character.strikes = 1 + static_cast<int>(Below(12));
  }
  // Few kinds at once go deeper than all of them.
  const int kinds = 1 + static_cast<int>(Below(5));
  for (int i = 0; i < kinds; ++i) {
    character.faults.push_back(static_cast<int>(Below(kFaultKinds)));
  }
  if (OneIn(6)) {
    // A storm while generation 1 is being made, which nothing else repeats.
    character.storms_at_start = true;
    character.members = 2 + static_cast<int>(Below(3));
    character.mean_fault_gap = std::chrono::milliseconds(20 + Below(200));
    character.faults = {kKillPod, kCutLink, kPartition};
    if (OneIn(2)) character.faults.push_back(kPausePod);
  }
  if (has_witness) {
    const bool starts = !character.storms_at_start && OneIn(2);
    character.witness = starts ? character.members - 1 : character.members;
  }
  if (OneIn(4)) {
    character.least_hosts = 1 + static_cast<int>(Below(character.StartingHosts()));
  }
  return character;
}

std::vector<int> MembershipWorld::LivePods() const {
  std::vector<int> live;
  for (int index = 0; index < static_cast<int>(pods_.size()); ++index) {
    if (pods_[index]->alive) live.push_back(index);
  }
  return live;
}

void MembershipWorld::ScheduleFault() {
  const auto mean = static_cast<uint64_t>(character_.mean_fault_gap.count());
  // Now and then several in one instant.
  const auto gap = OneIn(6) ? Below(mean / 100 + 1) : Below(2 * mean);
  After(Duration(static_cast<int64_t>(gap)), [this] {
    if (faults_are_over_) return;
    const std::vector<int> live = LivePods();
    if (!live.empty()) Fault(live[Below(live.size())]);
    ScheduleFault();
  });
}

void MembershipWorld::MaybeStrike(int from, int to, const rendezvous::Message& message) {
  if (character_.strikes == 0 || std::holds_alternative<rendezvous::StatusMessage>(message.body) ||
      !OneIn(character_.strike_one_in)) {
    return;
  }
  --character_.strikes;
  const int victim = OneIn(2) ? from : to;
  // Before the message arrives, or right after.
  After(Between(0, 2 * character_.slowest_us), [this, victim] {
    if (!faults_are_over_ && pods_[victim]->alive) Fault(victim);
  });
}

void MembershipWorld::Pause(std::deque<Action>& held, bool& paused, Duration how_long,
                            std::function<bool()> alive) {
  if (paused) return;
  paused = true;
  After(how_long, [&held, &paused, alive = std::move(alive)] {
    paused = false;
    while (!held.empty() && !paused && alive()) {
      Action action = std::move(held.front());
      held.pop_front();
      action();
    }
  });
}

void MembershipWorld::Fault(int index) {
  const std::vector<int> live = LivePods();
  Pod& pod = *pods_[index];
  switch (character_.faults[Below(character_.faults.size())]) {
    case kKillTwo:
      KillWorker(live[Below(live.size())], Between(10'000, 800'000));
      [[fallthrough]];
    case kKillWorker:
      KillWorker(index, OneIn(4) ? Between(100, 5'000) : Between(10'000, 800'000));
      return;
    case kKillPod: {
      const bool was_named = pod.reachable_by_name;
      const MemberId member = pod.process.member;
      KillPod(index, "killed");
      if (!was_named || OneIn(4)) return;
      After(Between(1'000, 1'500'000), [this, member] {
        if (NewestPod(member) < 0) StartPod(member);
      });
      return;
    }
    case kPausePod: {
      const Duration how_long = Between(20'000, 2'500'000);
      Trace(Label(index) + " is stopped for a while");
      Pause(pod.held, pod.paused, how_long, [&pod] { return pod.alive; });
      After(how_long, [this, index] {
        if (pods_[index]->alive) Drain(index);
      });
      return;
    }
    case kPauseWorker: {
      if (pod.worker < 0) return;
      Worker& worker = *workers_[pod.worker];
      Trace(Label(index) + "'s worker is stopped for a while");
      Pause(worker.held, worker.paused, Between(20'000, 2'500'000),
            [&worker] { return worker.alive; });
      return;
    }
    case kPartition:
      return Partition();
    case kCutLink: {
      const int other = live[Below(live.size())];
      const TimePoint until = now_ + Between(100'000, 4'000'000);
      Trace(Label(index) + " is cut from " + Label(other));
      blocked_[{index, other}] = until;
      if (!OneIn(3)) blocked_[{other, index}] = until;
      return;
    }
    case kClockStep:
      Trace(Label(index) + "'s timers jump");
      pod.clock_offset += Between(100'000, OneIn(3) ? 5'000'000 : 800'000);
      ToPod(index, [this, index] { pods_[index]->membership->OnTick(LocalTime(*pods_[index])); });
      return;
    case kLeave:
      if (OneIn(2)) return;
      Trace(Label(index) + " is told to leave");
      pod.leaving = true;
      ToPod(index,
            [this, index] { pods_[index]->membership->OnLeaving(LocalTime(*pods_[index])); });
      return;
    case kAddMember: {
      const MemberId member = static_cast<MemberId>(Below(character_.members + 2));
      if (NewestPod(member) < 0) StartPod(member);
      return;
    }
    case kReplacePod:
      return ReplacePod();
    case kStartTwin:
      return StartTwin(index);
    case kSpuriousLinkDown: {
      const int other = live[Below(live.size())];
      if (other == index) return;
      ToPod(index, [this, index, other] {
        pods_[index]->membership->OnPeerLinkDown(LocalTime(*pods_[index]), pods_[other]->process);
      });
      return;
    }
    case kReportBrokenLink: {
      const DecisionRef decision = pod.membership->decision();
      if (decision == nullptr || decision->world().ranks.empty()) return;
      const World world = decision->world();
      const MemberProcess broken = world.ranks[Below(world.ranks.size())];
      if (broken.member == pod.process.member) return;
      ToPod(index, [this, index, broken, generation = decision->generation] {
        pods_[index]->membership->OnWorkerReport(LocalTime(*pods_[index]), generation, broken);
      });
      return;
    }
  }
}

void MembershipWorld::Partition() {
  const std::vector<int> live = LivePods();
  std::set<int> here;
  for (int index : live) {
    if (OneIn(2)) here.insert(index);
  }
  const bool one_way = OneIn(3);
  const TimePoint until = now_ + Between(100'000, 4'000'000);
  std::string text = one_way ? "unheard:" : "cut off:";
  for (int a : here) {
    text += " " + Label(a);
    for (int b : live) {
      if (here.contains(b)) continue;
      blocked_[{a, b}] = until;
      if (!one_way) blocked_[{b, a}] = until;
    }
  }
  Trace(text);
}

// A node is out of reach: its pod lives on there, alone, while another of the same member is
// started. Once in a run, and not before the first generation: a start needs that no index runs
// twice.
void MembershipWorld::ReplacePod() {
  const std::vector<int> live = LivePods();
  const int index = live[Below(live.size())];
  Pod& pod = *pods_[index];
  const DecisionRef decision = pod.membership->decision();
  if (replaced_a_pod_ || character_.members < 3 || decision == nullptr || !pod.reachable_by_name ||
      !pod.membership->installed()) {
    return;
  }
  replaced_a_pod_ = true;
  pod.reachable_by_name = false;
  checker_.Ended(pod.process);
  const TimePoint until = now_ + Between(500'000, 5'000'000);
  for (int other : live) {
    if (other == index) continue;
    blocked_[{index, other}] = blocked_[{other, index}] = until;
  }
  Trace(Label(index) + " is out of reach, and replaced");
  const MemberId member = pod.process.member;
  After(Between(1'000, 1'500'000), [this, member, index, until] {
    if (NewestPod(member) >= 0) return;
    const int newcomer = StartPod(member);
    blocked_[{index, newcomer}] = blocked_[{newcomer, index}] = until;
    // Whether the old one takes its chance when its successor falls.
    if (OneIn(2)) return;
    At(until + Between(0, 1'000'000), [this, newcomer] {
      if (!faults_are_over_) KillPod(newcomer, "killed");
    });
  });
}

// Somebody starts a listed member that lives, again.
void MembershipWorld::StartTwin(int index) {
  Pod& pod = *pods_[index];
  if (replaced_a_pod_ || character_.members < 3 || !pod.reachable_by_name || pod.leaving ||
      pod.membership->decision() == nullptr || !pod.membership->installed() ||
      pod.membership->decision()->FindSupervisor(pod.process) == nullptr) {
    return;
  }
  replaced_a_pod_ = true;
  pod.reachable_by_name = false;
  pod.has_twin = true;
  checker_.Ended(pod.process);
  Trace(Label(index) + " gets a twin");
  StartPod(pod.process.member);
}

void MembershipWorld::EndFaults() {
  Trace("faults are over");
  faults_are_over_ = true;
  blocked_.clear();
  for (int index : LivePods()) {
    Pod& pod = *pods_[index];
    // Nobody keeps two pods of one member for ever: the older one is deleted. A twin is to make it
    // end, once somebody else has the history.
    if (!pod.reachable_by_name && !(pod.has_twin && character_.restarts)) KillPod(index, "deleted");
  }
  std::set<MemberId> there;
  for (int index : LivePods()) {
    // A twin that was lost comes again.
    if (pods_[index]->reachable_by_name) there.insert(pods_[index]->process.member);
    if (!pods_[index]->membership->options().witness) {
      After(Between(0, 300'000), [this, index] { StartWorker(index); });
    }
  }
  if (!character_.restarts) return;
  for (MemberId member = 0; member < AllMembers(); ++member) {
    if (there.contains(member)) continue;
    After(Between(0, 1'000'000), [this, member] {
      if (NewestPod(member) < 0) StartPod(member);
    });
  }
}

// Whether all who live are in one installed generation, and steps advance in it.
bool MembershipWorld::IsSettled() {
  DecisionRef common;
  StepNumber least = ~StepNumber{0};
  const std::vector<int> live = LivePods();
  // Whoever is started after the end of a job waits for others in vain: nobody begins it anew.
  if (a_job_has_ended_ && std::all_of(live.begin(), live.end(), [this](int index) {
        const Pod& pod = *pods_[index];
        return pod.outcome.has_value() || pod.membership->phase() == Membership::Phase::kStarting;
      })) {
    return true;
  }
  bool any = false;
  for (int index : live) {
    const Pod& pod = *pods_[index];
    const Membership& membership = *pod.membership;
    const DecisionRef& decision = membership.decision();
    any = true;
    if (decision == nullptr || !membership.installed()) return false;
    if (common == nullptr) common = decision;
    if (!(*common == *decision)) return false;
    if (pod.outcome == Outcome::kEnded) return false;
    const ListedMember* listed = decision->FindSupervisor(pod.process);
    if (listed == nullptr || pod.leaving) return false;
    if (membership.options().witness) continue;
    if (pod.worker < 0) return false;
    const Worker& worker = *workers_[pod.worker];
    if (!worker.alive || worker.stopped || worker.stage != Stage::kStepping ||
        worker.decision != decision || listed->worker != worker.incarnation) {
      return false;
    }
    least = std::min(least, static_cast<StepNumber>(worker.history.size()));
  }
  if (!any) return character_.last_step == 0 || !character_.restarts;
  if (settled_in_ == nullptr || !(*settled_in_ == *common)) {
    settled_in_ = common;
    steps_when_settled_ = least;
    return false;
  }
  return least >= steps_when_settled_ + 3;
}

// Whether nothing can go on any more: not enough of the newest generation's voters live, or none of
// its workers that holds its history, or too few hosts, or not all of the starting members.
bool MembershipWorld::IsLost() const {
  DecisionRef newest;
  std::set<MemberId> there;
  int hosts = 0;
  for (int index : LivePods()) {
    const Pod& pod = *pods_[index];
    if (pod.process.member < character_.members) there.insert(pod.process.member);
    hosts += pod.process.member != character_.witness && !pod.leaving;
    const DecisionRef& decision = pod.membership->decision();
    if (decision == nullptr) continue;
    if (newest == nullptr || decision->generation > newest->generation) newest = decision;
  }
  if (newest == nullptr) return static_cast<int>(there.size()) < character_.members;
  bool holder_lives = false;
  const bool quorum_lives = newest->IsQuorum([&](const ListedMember& listed) {
    for (int index : LivePods()) {
      const Pod& pod = *pods_[index];
      if (pod.process != MemberProcess{listed.member, listed.supervisor}) continue;
      if (pod.worker >= 0 && workers_[pod.worker]->alive &&
          workers_[pod.worker]->incarnation == listed.worker) {
        const auto state = StateOf(*workers_[pod.worker]);
        holder_lives |= state.has_value() && newest->Holds(*state);
      }
      return true;
    }
    return false;
  });
  return !quorum_lives || !holder_lives || hosts < character_.least_hosts;
}

std::string MembershipWorld::Describe() const {
  std::ostringstream out;
  for (int index : LivePods()) {
    const Pod& pod = *pods_[index];
    const Membership& membership = *pod.membership;
    out << pod.process << (pod.leaving ? " leaving" : "") << ": ";
    if (membership.decision() == nullptr) {
      out << "no decision";
    } else {
      out << *membership.decision() << (membership.installed() ? " installed" : "");
    }
    out << "; " << membership.reason() << "; worker ";
    if (pod.worker < 0 || !workers_[pod.worker]->alive) {
      out << "none";
    } else {
      const Worker& worker = *workers_[pod.worker];
      out << worker.incarnation << (worker.stopped ? " stopped" : "")
          << (worker.paused ? " paused" : "") << " stage " << static_cast<int>(worker.stage)
          << " step " << worker.history.size() - 1 << (worker.has_state ? "" : " (nothing)");
    }
    out << "\n";
  }
  return out.str();
}

}  // namespace closeranks::simulation
