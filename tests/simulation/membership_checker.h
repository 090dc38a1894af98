// What must hold at every moment, whatever fails: watches agents and workers from outside, and
// knows everything that ever happened. Its arithmetic is its own, so that a mistake isn't checked
// by itself.
#ifndef CLOSERANKS_TESTS_SIMULATION_MEMBERSHIP_CHECKER_H_
#define CLOSERANKS_TESTS_SIMULATION_MEMBERSHIP_CHECKER_H_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/member.h"
#include "rendezvous/decision.h"
#include "rendezvous/membership.h"

namespace closeranks::simulation {

struct StepRecord {
  Generation reduced_in = 0;
  uint64_t hash = 0;
  bool operator==(const StepRecord&) const = default;
};
// Index: the step. The first is the initial state.
using StepHistory = std::vector<StepRecord>;

class MembershipChecker {
 public:
  // Member `witness` never has a worker (-1: all may); with fewer than `least_hosts` others nothing
  // is trained.
  MembershipChecker(int starting_members, MemberId witness, int least_hosts)
      : starting_members_(starting_members), witness_(witness), least_hosts_(least_hosts) {}

  // The first violation; empty: none.
  const std::string& violation() const { return violation_; }
  void Fail(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  // That agent has ended, or its member runs twice, so that it doesn't count against another
  // lineage.
  void Ended(const MemberProcess& agent) { ended_.insert(agent); }
  // A worker asks to be let in.
  void Started(const Incarnation& worker, const rendezvous::Terms& terms) {
    terms_[worker] = terms;
  }
  // An agent tells others of `decision`.
  void Decided(const rendezvous::DecisionRef& decision);
  // After each event at that agent.
  void AgentIs(const MemberProcess& agent, const rendezvous::Membership& membership);
  void InstallCommanded(const MemberProcess& agent, const rendezvous::WorkerCommand& command,
                        bool worker_is_stopped);
  // That agent ends, as `decision` says.
  void EndedBy(const MemberProcess& agent, const rendezvous::Decision& decision);
  // The worker entered `decision`'s world at the resume step, with that history.
  void Entered(const rendezvous::Decision& decision, const Incarnation& worker,
               const StepHistory& history);
  // It applied the last step of `history`, in `decision`'s world.
  void Applied(const rendezvous::Decision& decision, const Incarnation& worker,
               const StepHistory& history);
  // The decision that `decision` follows; null: it was never seen.
  const rendezvous::Decision* Before(const rendezvous::Decision& decision) const;
  size_t decisions() const { return decisions_.size(); }
  size_t stable_steps() const;

 private:
  using DecisionKey = std::pair<Incarnation, Generation>;
  struct Known {
    rendezvous::DecisionRef decision;
    std::set<MemberProcess> stored_by;
    std::map<Incarnation, StepNumber> held;  // by its workers, while they were in it
    StepHistory line;                        // and what it reduced itself
  };
  struct Lineage {
    StepNumber stable = 0;
    StepRecord stable_record;
    bool any_stable = false;
    std::map<MemberProcess, Generation> displaced_in;
    std::map<MemberId, MemberProcess> last_supervisor, last_worker;  // that was listed
  };

  void CheckStored(const MemberProcess& agent, const rendezvous::Decision& decision,
                   const std::string& what);
  void CheckTerms(const rendezvous::Decision& decision);
  void CheckDisplaced(const rendezvous::Decision& decision);
  void Holds(Known& known, const Incarnation& worker, StepNumber step);
  void CheckStableOnLine(const Known& known);
  void CheckOnlyLineage(const rendezvous::Decision& decision);

  const int starting_members_;
  const MemberId witness_;
  const int least_hosts_;
  std::string violation_;
  std::set<MemberProcess> ended_;
  std::vector<Incarnation> births_;  // of lineages
  std::map<DecisionKey, Known> decisions_;
  std::map<Incarnation, Lineage> lineages_;
  std::map<MemberProcess, std::pair<Incarnation, Generation>> newest_;
  std::map<MemberProcess, bool> listed_once_;
  std::map<Incarnation, rendezvous::Terms> terms_;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_MEMBERSHIP_CHECKER_H_
