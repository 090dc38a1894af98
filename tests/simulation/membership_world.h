// A job in virtual time: agents that run the shipping Membership, workers that do as their contract
// says and no more, a network between them, and faults. Everything follows from one seed.
#ifndef CLOSERANKS_TESTS_SIMULATION_MEMBERSHIP_WORLD_H_
#define CLOSERANKS_TESTS_SIMULATION_MEMBERSHIP_WORLD_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "rendezvous/membership.h"
#include "tests/simulation/membership_checker.h"

namespace closeranks::simulation {

class MembershipWorld {
 public:
  struct Result {
    std::string violation;  // empty: none
    TimePoint end;
    size_t events = 0;
    size_t decisions = 0;
    size_t stable_steps = 0;
    bool lost = false;    // no quorum was left, so nothing could go on
    bool struck = false;  // of a script
  };

  // One thing happens to a sound job, and one more at one message of what follows.
  struct Script {
    enum class Trigger { kWorkerKilled, kPodKilled, kPodLeaves, kPodJoins };
    enum class Strike {
      kSenderEndsBefore,  // it was about to send it
      kSenderEndsAfter,
      kReceiverEnds,
      kCutThere,  // one way, for three seconds, this message included
      kCutBack,   // the other way
    };
    int members = 3;
    int watchers = 8;
    Trigger trigger = Trigger::kWorkerKilled;
    Strike strike = Strike::kSenderEndsBefore;
    int message = 0;  // of those sent after the trigger; beyond the last: there is no strike
    uint64_t seed = 0;
  };

  // Without `demands_liveness` only what must never happen is a violation.
  MembershipWorld(uint64_t seed, bool demands_liveness, bool trace);
  MembershipWorld(const Script& script, bool trace);
  Result Run();
  // Of a script. Its survivors must go on within a bounded time.
  Result RunScript();

 private:
  using Action = std::function<void()>;
  struct Event {
    TimePoint at;
    uint64_t order;
    Action action;
    bool operator<(const Event& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  // What a seed chooses once.
  struct Character {
    int members = 3;
    int watchers = 8;
    bool terms_differ = false;  // of the workers, until faults are over
    MemberId witness = -1;      // -1: none; `members`: it joins those who start
    int least_hosts = 1;
    // That start the job and may have workers.
    int StartingHosts() const { return members - (witness >= 0 && witness < members ? 1 : 0); }
    bool encodes = false;          // messages go through their wire format
    bool restarts = true;          // what died is started again once faults are over
    bool initial_state = false;    // a restarted worker shows its initial state, not none
    bool storms_at_start = false;  // faults begin when everybody is being started
    StepNumber last_step = 0;      // of the job; 0: it doesn't end
    Duration mean_fault_gap{};
    int64_t slowest_us = 400;  // message, but for those that are delayed specially
    Duration slow_freeze{};
    uint64_t drop_one_in = 0, duplicate_one_in = 0, delay_one_in = 0;
    // Faults that hit the sender or the receiver of a message that decides something, just then.
    uint64_t strike_one_in = 0;
    int strikes = 0;          // at most
    std::vector<int> faults;  // of which kinds, as often as they are in here
  };

  enum class Stage { kIdle, kCatchingUp, kStepping };
  struct Worker {
    Incarnation incarnation;
    int pod = -1;
    bool alive = true;
    bool paused = false;
    std::deque<Action> held;  // what came while it was paused
    Stage stage = Stage::kIdle;
    bool stopped = true;  // by contract: nothing is applied or acknowledged
    rendezvous::DecisionRef decision;
    bool has_state = false;
    StepHistory history;
    std::map<StepNumber, std::set<Incarnation>> contributions;
    StepNumber contributed = 0;
    bool done = false;
    // The two directions of its socket keep their order.
    TimePoint last_to_it{}, last_from_it{};
  };
  struct Pod {
    MemberProcess process;
    bool alive = true;
    bool reachable_by_name = true;  // false: a newer pod has its member's name
    bool paused = false;
    bool leaving = false;
    bool has_twin = false;  // a newer one, and both are there for everybody
    std::deque<Action> held;
    Duration clock_offset{};
    std::unique_ptr<SeededRandom> random;
    std::unique_ptr<rendezvous::Membership> membership;
    int worker = -1;
    TimePoint tick_at = kNever;
    std::optional<rendezvous::Outcome> outcome;
  };
  // Between workers.
  struct Data {
    enum class Kind { kContribution, kAskState, kState };
    Kind kind = Kind::kContribution;
    Incarnation lineage;
    Generation generation = 0;
    Incarnation from;
    StepNumber step = 0;
    std::shared_ptr<const StepHistory> history;
  };

  // membership_world.cc
  void At(TimePoint when, Action action);
  void After(Duration delay, Action action) { At(now_ + delay, std::move(action)); }
  bool RunUntil(TimePoint end);
  Duration Between(int64_t low_us, int64_t high_us);
  uint64_t Below(uint64_t bound) { return random_.Below(bound); }
  bool OneIn(uint64_t n) { return n > 0 && random_.OneIn(n); }
  void Trace(const std::string& what);
  std::string Label(int pod) const;

  int StartPod(MemberId member);
  void KillPod(int pod, const std::string& why);
  void StartWorker(int pod);
  void KillWorker(int pod, Duration restart_after);
  void ToPod(int pod, Action action);
  void ToWorker(int worker, Action action);
  // Between a worker and its agent, in order; `extra` beside the usual delay.
  void CommandWorker(int worker, Duration extra, Action action);
  void TellAgent(int worker, Action action);
  void Pause(std::deque<Action>& held, bool& paused, Duration how_long,
             std::function<bool()> alive);
  void Drain(int pod);
  void ScheduleTick(int pod);
  void Obey(int pod, const rendezvous::WorkerCommand& command);
  void Over(int pod, rendezvous::Outcome outcome);
  void CheckStateLost(const rendezvous::Decision& last);
  void Deliver(int from, const rendezvous::Envelope& envelope);
  TimePoint LocalTime(const Pod& pod) const { return now_ + pod.clock_offset; }
  bool IsBlocked(int from, int to) const;
  int NewestPod(MemberId member) const;

  // membership_world_workers.cc
  void Freeze(int worker, Generation generation);
  void Install(int worker, rendezvous::DecisionRef decision);
  void AskForState(int worker, rendezvous::DecisionRef decision);
  void Enter(int worker);
  void Contribute(int worker);
  void Resend(int worker, rendezvous::DecisionRef decision);
  void SendData(int from, const Incarnation& to, Data data);
  void OnData(int worker, const Data& data);
  void TryApply(int worker);
  std::optional<rendezvous::WorkerState> StateOf(const Worker& worker) const;

  // membership_world_script.cc
  bool RunUntilSettled(Duration limit);
  void Trigger();
  bool StrikesBefore(int from, int to);
  void StrikeAfter(int from);

  // membership_world_faults.cc
  Character Draw();
  void ScheduleFault();
  void Fault(int pod);
  void MaybeStrike(int from, int to, const rendezvous::Message& message);
  Duration MessageDelay() { return Between(30, character_.slowest_us); }
  void Partition();
  void ReplacePod();
  void StartTwin(int pod);
  void EndFaults();
  bool IsSettled();
  bool IsLost() const;
  std::string Describe() const;
  std::vector<int> LivePods() const;
  // Who is to be there in the end.
  int AllMembers() const { return character_.members + (character_.witness == character_.members); }

  const bool demands_liveness_;
  const bool trace_;
  SeededRandom random_;
  Character character_;
  std::optional<Script> script_;
  bool triggered_ = false;
  bool struck_ = false;
  int sent_ = 0;  // since the trigger
  TimePoint now_{};
  uint64_t order_ = 0;
  size_t events_ = 0;
  std::priority_queue<Event> queue_;
  std::vector<std::unique_ptr<Pod>> pods_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::map<Incarnation, int> worker_by_incarnation_;
  std::map<std::pair<int, int>, TimePoint> blocked_;  // from a pod to a pod, until when
  bool faults_are_over_ = false;
  bool replaced_a_pod_ = false;
  bool a_job_has_ended_ = false;
  TimePoint faults_end_;
  StepNumber steps_when_settled_ = 0;
  rendezvous::DecisionRef settled_in_;
  MembershipChecker checker_;  // knows how many members start: after character_
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_MEMBERSHIP_WORLD_H_
