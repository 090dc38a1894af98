#include "tests/simulation/membership_world.h"

#include <algorithm>
#include <iostream>
#include <sstream>
#include <utility>

#include "glog/logging.h"

namespace closeranks::simulation {

using rendezvous::Envelope;
using rendezvous::Membership;
using rendezvous::MembershipOptions;
using rendezvous::MembershipOutputs;
using rendezvous::Message;
using rendezvous::Outcome;
using rendezvous::WorkerCommand;

MembershipWorld::MembershipWorld(uint64_t seed, bool demands_liveness, bool trace)
    : demands_liveness_(demands_liveness),
      trace_(trace),
      random_(MixBits(seed)),
      character_(Draw()),
      checker_(character_.members, character_.witness, character_.least_hosts) {
  now_ += std::chrono::hours(1);
}

MembershipWorld::MembershipWorld(const Script& script, bool trace)
    : demands_liveness_(true),
      trace_(trace),
      random_(MixBits(script.seed)),
      script_(script),
      checker_(script.members, -1, 1) {
  character_.members = script.members;
  character_.watchers = script.watchers;
  character_.restarts = false;
  now_ += std::chrono::hours(1);
}

MembershipWorld::Result MembershipWorld::Run() {
  for (MemberId member = 0; member < AllMembers(); ++member) {
    After(Between(0, character_.storms_at_start ? 20'000 : 500'000),
          [this, member] { StartPod(member); });
  }
  faults_end_ = now_ + Between(2'000'000, 8'000'000);
  ScheduleFault();
  Result result;
  if (RunUntil(faults_end_)) {
    EndFaults();
    const TimePoint deadline = now_ + std::chrono::seconds(120);
    bool settled = false;
    while (!settled && now_ < deadline && RunUntil(now_ + std::chrono::milliseconds(250))) {
      settled = IsSettled();
      if (!settled && LivePods().empty() && !character_.restarts) break;
    }
    // Where everything is started again, even a job that was lost begins anew.
    if (!settled && demands_liveness_ && (character_.restarts || !IsLost())) {
      checker_.Fail("not settled 120 s after the last fault:\n" + Describe());
    }
    result.lost = !settled;
  }
  result.violation = checker_.violation();
  result.end = now_;
  result.events = events_;
  result.decisions = checker_.decisions();
  result.stable_steps = checker_.stable_steps();
  return result;
}

void MembershipWorld::At(TimePoint when, Action action) {
  queue_.push({std::max(when, now_), ++order_, std::move(action)});
}

bool MembershipWorld::RunUntil(TimePoint end) {
  while (!queue_.empty() && queue_.top().at <= end) {
    now_ = queue_.top().at;
    Action action = std::move(const_cast<Event&>(queue_.top()).action);
    queue_.pop();
    if (++events_ > 3'000'000) checker_.Fail("3 million events: something spins");
    action();
    if (!checker_.violation().empty()) return false;
  }
  now_ = std::max(now_, end);
  return true;
}

Duration MembershipWorld::Between(int64_t low_us, int64_t high_us) {
  return std::chrono::microseconds(
      low_us + static_cast<int64_t>(Below(static_cast<uint64_t>(high_us - low_us + 1))));
}

void MembershipWorld::Trace(const std::string& what) {
  if (!trace_) return;
  const double ms = ToMilliseconds(now_ - TimePoint{} - std::chrono::hours(1));
  std::cerr << "[" << ms << " ms] " << what << "\n";
}

std::string MembershipWorld::Label(int pod) const {
  std::ostringstream out;
  out << pods_[pod]->process;
  return out.str();
}

int MembershipWorld::StartPod(MemberId member) {
  auto pod = std::make_unique<Pod>();
  pod->process = {member, Incarnation::Draw(random_)};
  pod->random = std::make_unique<SeededRandom>(random_.Next());
  MembershipOptions options;
  options.self = member;
  options.supervisor = pod->process.incarnation;
  options.started = now_.time_since_epoch();
  options.starting_members = character_.members;
  options.watchers = character_.watchers;
  options.witness = member == character_.witness;
  options.least_hosts = character_.least_hosts;
  options.quorum_timeout = std::chrono::seconds(6);
  options.join_timeout = std::chrono::seconds(10);
  options.freeze_timeout = std::chrono::milliseconds(1000);
  pod->membership = std::make_unique<Membership>(options, *pod->random, LocalTime(*pod));
  const int index = static_cast<int>(pods_.size());
  pods_.push_back(std::move(pod));
  Trace(Label(index) + " starts" +
        (pods_.size() == 1 ? ", of " + std::to_string(character_.members) + " with " +
                                 std::to_string(character_.watchers) + " watchers"
                           : ""));
  Drain(index);
  if (!options.witness) {
    After(Between(5'000, 200'000), [this, index] { StartWorker(index); });
  }
  for (int other : LivePods()) {
    if (other == index || OneIn(4)) continue;
    After(Between(1'000, 50'000), [this, index, other] {
      if (!pods_[index]->alive || IsBlocked(index, other) || IsBlocked(other, index)) return;
      ToPod(other, [this, index, other] {
        pods_[other]->membership->OnPeerLinkUp(LocalTime(*pods_[other]), pods_[index]->process);
      });
    });
  }
  return index;
}

void MembershipWorld::KillPod(int index, const std::string& why) {
  Pod& pod = *pods_[index];
  if (!pod.alive) return;
  Trace(Label(index) + " ends: " + why);
  pod.alive = false;
  checker_.Ended(pod.process);
  if (pod.worker >= 0) workers_[pod.worker]->alive = false;
  for (int other : LivePods()) {
    if (OneIn(4)) continue;
    After(Between(100, 5'000), [this, index, other] {
      if (IsBlocked(index, other)) return;
      ToPod(other, [this, index, other] {
        pods_[other]->membership->OnPeerLinkDown(LocalTime(*pods_[other]), pods_[index]->process);
      });
    });
  }
}

void MembershipWorld::StartWorker(int index) {
  Pod& pod = *pods_[index];
  if (!pod.alive || pod.outcome.has_value()) return;
  if (pod.worker >= 0 && workers_[pod.worker]->alive) return;
  auto worker = std::make_unique<Worker>();
  worker->incarnation = Incarnation::Draw(random_);
  worker->pod = index;
  const bool is_first = pod.worker < 0;
  worker->has_state = is_first || character_.initial_state;
  worker->history = {StepRecord{0, 1}};
  const int number = static_cast<int>(workers_.size());
  worker_by_incarnation_[worker->incarnation] = number;
  const auto state = StateOf(*worker);
  rendezvous::Terms terms{"build", "kernels", "x=1"};
  if (character_.terms_differ && !faults_are_over_ && OneIn(3)) terms.configuration = "x=2";
  checker_.Started(worker->incarnation, terms);
  pod.worker = number;
  workers_.push_back(std::move(worker));
  ToPod(index, [this, index, number, state, terms] {
    if (!workers_[number]->alive) return;
    Trace(Label(index) + "'s worker " + workers_[number]->incarnation.ToShortString() +
          " is ready");
    pods_[index]->membership->OnWorkerReady(LocalTime(*pods_[index]), workers_[number]->incarnation,
                                            "card", terms, state);
  });
}

void MembershipWorld::KillWorker(int index, Duration restart_after) {
  Pod& pod = *pods_[index];
  if (!pod.alive || pod.worker < 0 || !workers_[pod.worker]->alive) return;
  workers_[pod.worker]->alive = false;
  const Incarnation incarnation = workers_[pod.worker]->incarnation;
  Trace(Label(index) + "'s worker " + incarnation.ToShortString() + " is killed");
  // Reaped after what it had said was read.
  TimePoint& last = workers_[pod.worker]->last_from_it;
  last = std::max(last, now_ + Between(50, 2'000));
  At(last, [this, index, incarnation] {
    ToPod(index, [this, index, incarnation] {
      pods_[index]->membership->OnWorkerGone(LocalTime(*pods_[index]), incarnation);
    });
  });
  After(restart_after + std::chrono::milliseconds(5), [this, index] { StartWorker(index); });
}

void MembershipWorld::ToPod(int index, Action action) {
  Pod& pod = *pods_[index];
  if (!pod.alive) return;
  if (pod.paused) {
    pod.held.push_back(std::move(action));
    return;
  }
  action();
  Drain(index);
}

void MembershipWorld::ToWorker(int number, Action action) {
  Worker& worker = *workers_[number];
  if (!worker.alive) return;
  if (worker.paused) {
    worker.held.push_back(std::move(action));
    return;
  }
  action();
}

void MembershipWorld::CommandWorker(int number, Duration extra, Action action) {
  TimePoint& last = workers_[number]->last_to_it;
  last = std::max(last, now_ + Between(20, 200) + extra);
  At(last, [this, number, action = std::move(action)] { ToWorker(number, action); });
}

void MembershipWorld::TellAgent(int number, Action action) {
  TimePoint& last = workers_[number]->last_from_it;
  last = std::max(last, now_ + Between(20, 200));
  At(last, [this, pod = workers_[number]->pod, action = std::move(action)] { ToPod(pod, action); });
}

void MembershipWorld::Drain(int index) {
  Pod& pod = *pods_[index];
  const MembershipOutputs outputs = pod.membership->TakeOutputs();
  // Also those that were superseded within the same event.
  for (const Envelope& envelope : outputs.messages) {
    if (const auto* decided = std::get_if<rendezvous::DecidedMessage>(&envelope.message.body)) {
      checker_.Decided(decided->decision);
    }
  }
  checker_.AgentIs(pod.process, *pod.membership);
  for (const Envelope& envelope : outputs.messages) Deliver(index, envelope);
  for (const WorkerCommand& command : outputs.commands) Obey(index, command);
  if (outputs.outcome.has_value()) Over(index, *outputs.outcome);
  ScheduleTick(index);
}

void MembershipWorld::ScheduleTick(int index) {
  Pod& pod = *pods_[index];
  const TimePoint deadline = pod.membership->next_deadline();
  const TimePoint at = deadline == kNever ? kNever : deadline - pod.clock_offset;
  if (at == pod.tick_at) return;
  pod.tick_at = at;
  if (at == kNever) return;
  At(at, [this, index, at] {
    Pod& pod = *pods_[index];
    if (pod.tick_at != at) return;  // it was moved
    ToPod(index, [this, index] {
      pods_[index]->tick_at = kNever;
      pods_[index]->membership->OnTick(LocalTime(*pods_[index]));
    });
  });
}

void MembershipWorld::Obey(int index, const WorkerCommand& command) {
  Pod& pod = *pods_[index];
  auto found = worker_by_incarnation_.find(command.worker);
  if (found == worker_by_incarnation_.end()) return checker_.Fail("a command to nobody");
  const int number = found->second;
  switch (command.kind) {
    case WorkerCommand::Kind::kFreeze:
      CommandWorker(
          number, OneIn(6) ? character_.slow_freeze : Duration(0),
          [this, number, generation = command.generation] { Freeze(number, generation); });
      return;
    case WorkerCommand::Kind::kInstall: {
      std::ostringstream text;
      text << pod.process << " installs " << *command.decision;
      Trace(text.str());
      checker_.InstallCommanded(pod.process, command,
                                !workers_[number]->alive || workers_[number]->stopped);
      CommandWorker(number, Duration(0),
                    [this, number, decision = command.decision] { Install(number, decision); });
      return;
    }
    case WorkerCommand::Kind::kKill:
      Trace(Label(index) + " kills its worker, which did not freeze");
      KillWorker(index, Between(50'000, 300'000));
      return;
  }
}

void MembershipWorld::Over(int index, Outcome outcome) {
  Pod& pod = *pods_[index];
  pod.outcome = outcome;
  Trace(Label(index) + ": " + std::string(rendezvous::OutcomeName(outcome)) +
        (outcome == Outcome::kQuorumLost ? ": " + pod.membership->reason() : ""));
  if (outcome == Outcome::kReplaced &&
      std::any_of(pods_.begin(), pods_.begin() + index, [&](const std::unique_ptr<Pod>& other) {
        return other->has_twin && other->alive && other->process.member == pod.process.member;
      })) {
    checker_.Fail(Label(index) + " is replaced by an older one");
  }
  const rendezvous::DecisionRef& decision = pod.membership->decision();
  const bool is_decided = decision != nullptr && decision->job_ended() &&
                          (outcome == Outcome::kEnded || outcome == Outcome::kLeft ||
                           outcome == Outcome::kStateLost || outcome == Outcome::kMismatched);
  if (is_decided) {
    checker_.EndedBy(pod.process, *decision);
    if (pod.worker >= 0) {
      CommandWorker(pod.worker, Duration(0), [this, number = pod.worker] {
        workers_[number]->stopped = true;
        workers_[number]->stage = Stage::kIdle;
      });
    }
  }
  if (outcome == Outcome::kStateLost || outcome == Outcome::kMismatched) {
    if (outcome == Outcome::kStateLost) CheckStateLost(*pod.membership->decision());
    // Its agent stays for a while, to tell others.
    const bool comes_back = character_.restarts && pod.reachable_by_name;
    After(std::chrono::seconds(3), [this, index, comes_back, member = pod.process.member] {
      KillPod(index, "the job ended undone");
      if (comes_back && NewestPod(member) < 0) StartPod(member);
    });
    return;
  }
  if (is_decided) {
    a_job_has_ended_ = true;
    // Its agent stays for a while, to tell others.
    After(std::chrono::seconds(3), [this, index] { KillPod(index, "the job has ended"); });
    return;
  }
  if (outcome == Outcome::kQuorumLost && demands_liveness_ && faults_are_over_ &&
      now_ > faults_end_ + std::chrono::seconds(8) && !IsLost()) {
    checker_.Fail(Label(index) + " gave up while a quorum lives:\n" + Describe());
  }
  const MemberId member = pod.process.member;
  const bool was_named = pod.reachable_by_name;
  KillPod(index, "outcome");
  bool comes_back = character_.restarts && was_named;
  if (outcome == Outcome::kLeft && !faults_are_over_) comes_back = OneIn(2);
  if (!comes_back) return;
  After(Between(100'000, 800'000), [this, member] {
    if (NewestPod(member) < 0) StartPod(member);
  });
}

// Nobody may live who could go on with the job: a worker that the generation before lists, and that
// holds its history.
void MembershipWorld::CheckStateLost(const rendezvous::Decision& last) {
  const rendezvous::Decision* before = checker_.Before(last);
  if (before == nullptr) return checker_.Fail("a state is lost that nobody had");
  for (const rendezvous::ListedMember& listed : before->members) {
    auto found = worker_by_incarnation_.find(listed.worker);
    if (found == worker_by_incarnation_.end()) continue;
    const Worker& worker = *workers_[found->second];
    const auto state = StateOf(worker);
    if (!worker.alive || !state.has_value() || !before->Holds(*state)) continue;
    std::ostringstream text;
    text << "the job is given up as lost, and " << listed.worker << " holds its history: " << last;
    checker_.Fail(text.str());
  }
}

bool MembershipWorld::IsBlocked(int from, int to) const {
  auto found = blocked_.find({from, to});
  return found != blocked_.end() && found->second > now_;
}

int MembershipWorld::NewestPod(MemberId member) const {
  for (int index = static_cast<int>(pods_.size()) - 1; index >= 0; --index) {
    const Pod& pod = *pods_[index];
    if (pod.process.member == member && pod.alive && pod.reachable_by_name) return index;
  }
  return -1;
}

void MembershipWorld::Deliver(int from, const Envelope& envelope) {
  int to = -1;
  if (envelope.message.to.IsNone()) {
    to = NewestPod(envelope.to);
  } else {
    for (int index = static_cast<int>(pods_.size()) - 1; index >= 0; --index) {
      if (pods_[index]->process == MemberProcess{envelope.to, envelope.message.to}) to = index;
    }
  }
  if (to < 0 || to == from || !pods_[from]->alive) return;
  if (triggered_ && StrikesBefore(from, to)) return;
  if (!faults_are_over_) MaybeStrike(from, to, envelope.message);
  if (!faults_are_over_ && OneIn(character_.drop_one_in)) return;
  auto message = std::make_shared<const Message>(envelope.message);
  if (triggered_) StrikeAfter(from);
  const int copies = !faults_are_over_ && OneIn(character_.duplicate_one_in) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    Duration delay = MessageDelay();
    if (!faults_are_over_ && OneIn(character_.delay_one_in)) delay += Between(1'000, 600'000);
    After(delay, [this, from, to, message] {
      if (IsBlocked(from, to) || !pods_[to]->alive) return;
      ToPod(to, [this, to, message] {
        Membership& membership = *pods_[to]->membership;
        if (!character_.encodes) return membership.OnMessage(LocalTime(*pods_[to]), *message);
        auto decoded = rendezvous::DecodeMessage(Encode(*message));
        if (!decoded.ok()) return checker_.Fail(decoded.status().ToString());
        membership.OnMessage(LocalTime(*pods_[to]), *decoded);
      });
    });
  }
}

}  // namespace closeranks::simulation
