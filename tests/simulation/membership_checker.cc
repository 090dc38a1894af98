#include "tests/simulation/membership_checker.h"

#include <algorithm>
#include <iterator>
#include <sstream>

namespace closeranks::simulation {

using rendezvous::Decision;
using rendezvous::DecisionRef;
using rendezvous::ListedMember;

namespace {

template <typename... Parts>
std::string Text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace

void MembershipChecker::AgentIs(const MemberProcess& agent,
                                const rendezvous::Membership& membership) {
  const DecisionRef& decision = membership.decision();
  if (decision == nullptr) return;
  const DecisionKey key{decision->lineage, decision->generation};
  auto [newest, is_first] = newest_.emplace(agent, key);
  const bool changed = is_first || newest->second != key;
  if (changed) {
    if (!is_first && newest->second.first == key.first && key.second < newest->second.second) {
      Fail(Text(agent, " went back from generation ", newest->second.second, " to ", key.second));
    }
    if (!is_first && newest->second.first != key.first && listed_once_[agent]) {
      Fail(Text(agent, " left the lineage that it was listed in"));
    }
    newest->second = key;
    Decided(decision);
    for (const ListedMember& listed : decision->members) {
      if (listed.member == agent.member && listed.supervisor == agent.incarnation) {
        listed_once_[agent] = true;
      }
    }
    decisions_[key].stored_by.insert(agent);
  }
  if (membership.installed()) CheckStored(agent, *decision, "takes it for installed");
}

void MembershipChecker::EndedBy(const MemberProcess& agent, const Decision& decision) {
  for (const ListedMember& listed : decision.members) {
    // Who isn't listed has no vote that could be missed.
    if (listed.member != agent.member || listed.supervisor != agent.incarnation) continue;
    CheckStored(agent, decision, "ends by it");
  }
}

// More than half of the weight, with the tie rule counted here anew.
void MembershipChecker::CheckStored(const MemberProcess& agent, const Decision& decision,
                                    const std::string& what) {
  const DecisionKey key{decision.lineage, decision.generation};
  const Known& known = decisions_[key];
  int total = 0, stored = 0;
  const auto& members = decision.members;
  for (size_t i = 0; i < members.size(); ++i) {
    const int weight = i == 0 && members.size() % 2 == 0 ? 2 : 1;
    total += weight;
    const MemberProcess voter{members[i].member, members[i].supervisor};
    // Whoever stored a later one is beyond this one.
    auto theirs = newest_.find(voter);
    const bool beyond = theirs != newest_.end() && theirs->second.first == key.first &&
                        theirs->second.second >= key.second;
    if (known.stored_by.contains(voter) || beyond) stored += weight;
  }
  if (2 * stored <= total) {
    Fail(Text(agent, " ", what, ", and generation ", key.second, " is stored by ", stored, " of ",
              total));
  }
}

void MembershipChecker::Decided(const DecisionRef& decision) {
  const DecisionKey key{decision->lineage, decision->generation};
  auto [place, is_new] = decisions_.try_emplace(key);
  Known& known = place->second;
  if (!is_new) {
    if (!(*known.decision == *decision)) {
      Fail(Text("two decisions: ", *known.decision, " and ", *decision));
    }
    return;
  }
  known.decision = decision;
  if (!lineages_.contains(decision->lineage)) births_.push_back(decision->lineage);
  if (Status status = decision->Validate(); !status.ok()) Fail(status.ToString());
  CheckDisplaced(*decision);
  CheckTerms(*decision);
  if (decision->generation == 1) return;
  auto before = decisions_.find({decision->lineage, decision->generation - 1});
  if (before == decisions_.end()) return Fail(Text(*decision, " without a known predecessor"));
  if (decision->floor < before->second.decision->floor) Fail(Text(*decision, " lowers the floor"));
  // The line: what came before, up to the resume step.
  const StepHistory& line = before->second.line;
  const StepNumber resume = decision->resume.applied;
  if (!line.empty() || resume > 0) {
    if (resume >= line.size())
      return Fail(Text(*decision, " resumes at a step that nobody applied"));
    if (line[resume] != StepRecord{decision->resume.reduced_in, decision->resume.hash}) {
      return Fail(Text(*decision, " resumes off its predecessor's line"));
    }
    known.line.assign(line.begin(), line.begin() + static_cast<ptrdiff_t>(resume) + 1);
  }
  CheckStableOnLine(known);
}

const Decision* MembershipChecker::Before(const Decision& decision) const {
  auto before = decisions_.find({decision.lineage, decision.generation - 1});
  return before == decisions_.end() ? nullptr : before->second.decision.get();
}

// As long as nothing was trained, workers that differ don't go on, and no others end.
void MembershipChecker::CheckTerms(const Decision& decision) {
  if (decision.resume.reduced_in != 0) return;
  std::set<std::string> seen;
  for (const ListedMember& listed : decision.members) {
    if (!listed.worker.IsNone()) seen.insert(terms_[listed.worker].configuration);
  }
  const bool has_ended = decision.end == rendezvous::JobEnd::kMismatch;
  if (has_ended && seen.size() < 2)
    Fail(Text(decision, " ends over a mismatch, and there is none"));
  if (!decision.job_ended() && seen.size() > 1) Fail(Text(decision, " goes on with a mismatch"));
}

// Whoever was listed when its member is listed with another process is displaced for good.
void MembershipChecker::CheckDisplaced(const Decision& decision) {
  Lineage& lineage = lineages_[decision.lineage];
  auto displace = [&](std::map<MemberId, MemberProcess>& last, const MemberProcess& process) {
    if (process.incarnation.IsNone()) return;
    auto displaced = lineage.displaced_in.find(process);
    if (displaced != lineage.displaced_in.end()) {
      Fail(Text(decision, " lists ", process, ", displaced in generation ", displaced->second));
    }
    MemberProcess& before = last[process.member];
    if (before == process) return;
    if (!before.incarnation.IsNone()) lineage.displaced_in.emplace(before, decision.generation);
    before = process;
  };
  for (const ListedMember& listed : decision.members) {
    displace(lineage.last_supervisor, {listed.member, listed.supervisor});
    displace(lineage.last_worker, {listed.member, listed.worker});
  }
}

void MembershipChecker::CheckStableOnLine(const Known& known) {
  if (known.decision->end == rendezvous::JobEnd::kStateLost) return;  // nothing goes on from it
  const Lineage& lineage = lineages_[known.decision->lineage];
  if (!lineage.any_stable) return;
  if (known.decision->resume.applied < lineage.stable ||
      known.line[lineage.stable] != lineage.stable_record) {
    Fail(Text(*known.decision, " undoes step ", lineage.stable, ", which was stable"));
  }
}

void MembershipChecker::InstallCommanded(const MemberProcess& agent,
                                         const rendezvous::WorkerCommand& command,
                                         bool worker_is_stopped) {
  const Decision& decision = *command.decision;
  if (!worker_is_stopped) {
    Fail(Text(agent, " installs ", decision, " on a worker that has not stopped"));
  }
  const auto hosts =
      std::count_if(decision.members.begin(), decision.members.end(),
                    [this](const ListedMember& listed) { return listed.member != witness_; });
  if (hosts < least_hosts_) {
    Fail(Text(agent, " installs ", decision, ", of fewer than ", least_hosts_, " hosts"));
  }
  const Lineage& lineage = lineages_[decision.lineage];
  for (const Incarnation& incarnation : {agent.incarnation, command.worker}) {
    auto displaced = lineage.displaced_in.find({agent.member, incarnation});
    if (displaced != lineage.displaced_in.end() && displaced->second <= decision.generation) {
      Fail(Text(agent, " installs ", decision, " though displaced in ", displaced->second));
    }
  }
}

void MembershipChecker::Entered(const Decision& decision, const Incarnation& worker,
                                const StepHistory& history) {
  Known& known = decisions_[{decision.lineage, decision.generation}];
  if (known.line.empty()) known.line = history;
  const StepNumber resume = decision.resume.applied;
  if (history.size() != resume + 1) {
    return Fail(Text("a worker entered ", decision, " at step ", history.size() - 1));
  }
  for (StepNumber step = 0; step <= resume; ++step) {
    if (history[step] == known.line[step]) continue;
    return Fail(Text("a worker entered ", decision, " with another history at step ", step));
  }
  Holds(known, worker, resume);
}

void MembershipChecker::Applied(const Decision& decision, const Incarnation& worker,
                                const StepHistory& history) {
  Known& known = decisions_[{decision.lineage, decision.generation}];
  const StepNumber step = history.size() - 1;
  if (known.line.size() == step) known.line.push_back(history.back());
  if (known.line.size() <= step || known.line[step] != history.back()) {
    return Fail(Text("two results of step ", step, " in ", decision));
  }
  Holds(known, worker, step);
}

void MembershipChecker::Holds(Known& known, const Incarnation& worker, StepNumber step) {
  known.held[worker] = step;
  const World world = known.decision->world();
  StepNumber stable = step;
  for (const MemberProcess& rank : world.ranks) {
    auto held = known.held.find(rank.incarnation);
    if (held == known.held.end()) return;
    stable = std::min(stable, held->second);
  }
  Lineage& lineage = lineages_[known.decision->lineage];
  if (lineage.any_stable) {
    const StepNumber both = std::min(stable, lineage.stable);
    if (both == lineage.stable && known.line[both] != lineage.stable_record) {
      return Fail(Text("two lines record step ", both, ", one of them in ", *known.decision));
    }
    if (stable <= lineage.stable) return;
  }
  CheckOnlyLineage(*known.decision);
  lineage.any_stable = true;
  lineage.stable = stable;
  lineage.stable_record = known.line[stable];
  // Nothing newer may have been decided without it.
  for (auto later = decisions_.upper_bound({known.decision->lineage, known.decision->generation});
       later != decisions_.end() && later->first.first == known.decision->lineage; ++later) {
    CheckStableOnLine(later->second);
  }
}

// A step was recorded: no younger lineage may have begun, as long as one of the starting members
// that are listed here lives, for all of them had to take part in that beginning.
void MembershipChecker::CheckOnlyLineage(const Decision& decision) {
  if (births_.back() == decision.lineage) return;
  for (const ListedMember& listed : decision.members) {
    if (listed.member < starting_members_ && !ended_.contains({listed.member, listed.supervisor})) {
      return Fail(Text(decision, " records a step, and another lineage has begun; ", listed.member,
                       " lives"));
    }
  }
}

size_t MembershipChecker::stable_steps() const {
  size_t steps = 0;
  for (const auto& [name, lineage] : lineages_) steps += lineage.stable;
  return steps;
}

}  // namespace closeranks::simulation
