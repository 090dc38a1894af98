#include "rendezvous/membership_value.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {
namespace {

// More would only help a worker that lags behind by as many generations, and it can get a transfer.
constexpr size_t kMaxSegments = 64;
// Of one member. A process that comes back after so many successors is taken for a new one.
constexpr int kMaxDisplacedOfMember = 16;

struct Candidate {
  const Answer* answer = nullptr;
  const ListedMember* listed = nullptr;  // by this supervisor, in the base
  bool is_holder = false;

  bool HasWorker() const { return !answer->promise.agent.worker.IsNone(); }
  bool IsLeaving() const { return answer->promise.agent.leaving; }
  // The worker that the base listed, still alive.
  bool HasListedWorker() const {
    return listed != nullptr && HasWorker() && answer->promise.agent.worker == listed->worker;
  }
  StepNumber applied() const { return answer->promise.state->applied; }
};

std::vector<Candidate> FindCandidates(const Decision& base, const std::vector<Answer>& answers) {
  std::vector<Candidate> candidates;
  for (const Answer& answer : answers) {
    Candidate candidate{&answer, base.FindSupervisor(answer.from), false};
    const AgentReport& agent = answer.promise.agent;
    if (base.IsDisplaced(answer.from) || base.IsDisplaced({answer.from.member, agent.worker}))
      continue;
    if (candidate.listed == nullptr && !candidate.HasWorker() && !agent.witness) continue;
    candidate.is_holder = candidate.HasListedWorker() && answer.promise.state.has_value() &&
                          base.Holds(*answer.promise.state);
#if defined(CLOSERANKS_PLANT_JOINER_COUNTED_AS_HOLDER)
    candidate.is_holder = candidate.HasWorker() && answer.promise.state.has_value() &&
                          base.Holds(*answer.promise.state);
#elif defined(CLOSERANKS_PLANT_FLOOR_IGNORED)
    candidate.is_holder = candidate.HasListedWorker() && answer.promise.state.has_value() &&
                          base.OnLine(*answer.promise.state);
#elif defined(CLOSERANKS_PLANT_RESUME_BY_STEP_ALONE)
    candidate.is_holder = candidate.HasListedWorker() && answer.promise.state.has_value();
#endif
    candidates.push_back(candidate);
  }
  return candidates;
}

// Whether some generation of the lineage listed it.
bool WasListed(const Decision& base, const Candidate& candidate) {
  return candidate.listed != nullptr ||
         std::any_of(base.absent.begin(), base.absent.end(), [&](const AbsentMember& absent) {
           return MemberProcess{absent.member, absent.supervisor} == candidate.answer->from;
         });
}

// Of two processes of one member. Where they don't say, who wasn't listed yet is the newer one.
bool IsNewer(const Decision& base, const Candidate& a, const Candidate& b) {
  const Duration a_started = a.answer->promise.started, b_started = b.answer->promise.started;
  if (a_started != b_started) return a_started > b_started;
  return !WasListed(base, a) && WasListed(base, b);
}

// One of each member, in their order: the newest, but for one that was listed, which is replaced
// only if somebody else who stays has the history. Where whoever has it has a successor there, one
// of them stays for now.
std::vector<Candidate> WithoutTwins(const Decision& base,
                                    const std::vector<Candidate>& candidates) {
  std::set<MemberId> newer;
  for (const Candidate& candidate : candidates) {
    if (candidate.listed == nullptr) newer.insert(candidate.answer->from.member);
  }
  std::set<MemberId> have_it;
  for (const Candidate& candidate : candidates) {
    if (candidate.is_holder && !candidate.IsLeaving())
      have_it.insert(candidate.answer->from.member);
  }
  const MemberId keeper =
      WhoKeeps(have_it, [&](MemberId member) { return newer.contains(member); });
  auto is_better = [&](const Candidate& a, const Candidate& b) {
    const bool others_have_it = keeper >= 0 && keeper != a.answer->from.member;
    const bool a_was_listed = WasListed(base, a);
    if (!others_have_it && a_was_listed != WasListed(base, b)) return a_was_listed;
    return IsNewer(base, a, b);
  };
  std::map<MemberId, Candidate> best;
  for (const Candidate& candidate : candidates) {
    auto [place, is_new] = best.emplace(candidate.answer->from.member, candidate);
    if (!is_new && is_better(candidate, place->second)) place->second = candidate;
  }
  std::vector<Candidate> kept;
  for (const auto& [member, candidate] : best) kept.push_back(candidate);
  return kept;
}

// Votes out who wants to leave, unless the history would leave with them. True when everybody
// leaves, which is the end of the job.
bool DropLeavers(std::vector<Candidate>& candidates) {
  bool holder_stays = false, agent_stays = false;
  for (const Candidate& candidate : candidates) {
    if (candidate.IsLeaving()) continue;
    holder_stays |= candidate.is_holder;
    // A joiner, or the next worker of who has none now, could go on once it has the state.
    agent_stays |= !candidate.answer->promise.agent.witness;
  }
  if (!agent_stays) return true;
  std::erase_if(candidates, [holder_stays](const Candidate& candidate) {
    return candidate.IsLeaving() && (holder_stays || !candidate.is_holder);
  });
  return false;
}

std::vector<Candidate> KeepConnected(const std::vector<Candidate>& candidates) {
  std::vector<Node> nodes;
  for (const Candidate& candidate : candidates) {
    nodes.push_back({candidate.answer->from.member, candidate.HasWorker(),
                     candidate.listed != nullptr, candidate.is_holder});
  }
  // Whom a candidate lacks is a process that the base lists, not a successor of it.
  std::vector<std::pair<int, int>> cuts;
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (MemberId lacked : candidates[i].answer->promise.agent.lacks) {
      auto other =
          std::lower_bound(nodes.begin(), nodes.end(), lacked,
                           [](const Node& node, MemberId wanted) { return node.member < wanted; });
      if (other != nodes.end() && other->member == lacked && other->is_listed) {
        cuts.emplace_back(static_cast<int>(i), static_cast<int>(other - nodes.begin()));
      }
    }
  }
  std::vector<Candidate> kept;
  for (int index : LargestConnectedSet(nodes, cuts)) kept.push_back(candidates[index]);
  return kept;
}

// The state that most holders at the greatest step have; all have the same but for a broken
// replica, which then is off the line.
WorkerState ChooseResume(const std::vector<Candidate>& listed) {
  StepNumber greatest = 0;
  for (const Candidate& candidate : listed) {
    if (candidate.is_holder) greatest = std::max(greatest, candidate.applied());
  }
  std::vector<std::pair<WorkerState, int>> votes;
  for (const Candidate& candidate : listed) {
    if (!candidate.is_holder || candidate.applied() != greatest) continue;
    const WorkerState& state = *candidate.answer->promise.state;
    auto same = std::find_if(votes.begin(), votes.end(),
                             [&](const auto& vote) { return vote.first == state; });
    if (same == votes.end()) same = votes.insert(votes.end(), {state, 0});
    ++same->second;
  }
  CHECK(!votes.empty());
  auto most = std::max_element(votes.begin(), votes.end(),
                               [](const auto& a, const auto& b) { return a.second < b.second; });
  return most->first;
}

// The base's history up to `resume`, which is on its line, and what the base's generation reduced.
std::vector<Segment> ExtendHistory(const Decision& base, const WorkerState& resume) {
  std::vector<Segment> history;
  for (const Segment& segment : base.history) {
    if (segment.last < resume.applied) history.push_back(segment);
  }
  history.push_back({resume.reduced_in, resume.applied, resume.hash});
  if (history.size() > kMaxSegments) history.erase(history.begin(), history.end() - kMaxSegments);
  return history;
}

void Displace(Decision& next, const MemberProcess& process) {
  if (process.incarnation.IsNone() || next.IsDisplaced(process)) return;
  next.displaced.push_back(process);
  auto is_same_member = [&](const MemberProcess& other) { return other.member == process.member; };
  if (std::count_if(next.displaced.begin(), next.displaced.end(), is_same_member) >
      kMaxDisplacedOfMember) {
    next.displaced.erase(
        std::find_if(next.displaced.begin(), next.displaced.end(), is_same_member));
  }
}

// Who was listed in or before `base`, and is now displaced by another process of the same member,
// or merely absent.
void SettlePredecessors(const Decision& base, Decision& next) {
#ifndef CLOSERANKS_PLANT_DISPLACED_FORGOTTEN
  next.displaced = base.displaced;
#endif
  std::map<MemberId, AbsentMember> before;
  for (const AbsentMember& absent : base.absent) before[absent.member] = absent;
  for (const ListedMember& listed : base.members) {
    before[listed.member] = {listed.member, listed.supervisor, listed.worker};
  }
  for (const auto& [member, old] : before) {
    const ListedMember* now = next.Find(member);
    if (now == nullptr) {
      next.absent.push_back(old);
      continue;
    }
    if (now->supervisor != old.supervisor) Displace(next, {member, old.supervisor});
    if (now->worker != old.worker) Displace(next, {member, old.worker});
  }
}

// Whoever isn't listed because a newer process of its member is. A newer one waits.
void DisplaceOlder(const Decision& base, const std::vector<Candidate>& candidates,
                   const std::vector<Candidate>& listed, Decision& next) {
  std::map<MemberId, const Candidate*> chosen;
  for (const Candidate& candidate : listed) chosen[candidate.answer->from.member] = &candidate;
  for (const Candidate& candidate : candidates) {
    auto found = chosen.find(candidate.answer->from.member);
    if (found != chosen.end() && IsNewer(base, *found->second, candidate)) {
      Displace(next, candidate.answer->from);
    }
  }
}

ListedMember ToListed(const Answer& answer) {
  ListedMember listed;
  listed.member = answer.from.member;
  listed.supervisor = answer.from.incarnation;
  listed.worker = answer.promise.agent.worker;
  listed.witness = answer.promise.agent.witness;
  if (!listed.worker.IsNone()) listed.card = answer.promise.card;
  return listed;
}

Choice Checked(Decision decision) {
  AssignWeights(decision.members);
  Status status = decision.Validate();
  CHECK(status.ok()) << status;
  return {std::make_shared<const Decision>(std::move(decision)), ""};
}

// Whether the job's work is done: every worker of the base that lives has applied its last step.
bool AllDone(const std::vector<Candidate>& candidates, const WorkerState& resume) {
  for (const Candidate& candidate : candidates) {
    if (!candidate.HasListedWorker()) continue;
    if (!candidate.answer->promise.agent.done || !candidate.is_holder ||
        candidate.applied() != resume.applied) {
      return false;
    }
  }
  return true;
}

// The voters of `base` that didn't answer.
std::vector<MemberId> Unanswered(const Decision& base, const std::vector<Answer>& answers) {
  std::set<MemberProcess> answered;
  for (const Answer& answer : answers) answered.insert(answer.from);
  std::vector<MemberId> unanswered;
  for (const ListedMember& listed : base.members) {
    if (!answered.contains({listed.member, listed.supervisor})) unanswered.push_back(listed.member);
  }
  return unanswered;
}

// For people: "member 2, member 5", the first few of them.
std::string Names(const std::vector<MemberId>& members) {
  constexpr size_t kMostNamed = 8;
  std::string text;
  for (size_t i = 0; i < std::min(members.size(), kMostNamed); ++i) {
    text += (i == 0 ? "member " : ", member ") + std::to_string(members[i]);
  }
  if (members.size() <= kMostNamed) return text;
  return text + " and " + std::to_string(members.size() - kMostNamed) + " more";
}

// The end of a job of which nobody holds the history. Every voter of `base` said so of its worker,
// and a worker that stopped never becomes a holder again: waiting wouldn't bring one back.
Choice StateLost(const Decision& base) {
  Decision last = base;
  last.generation = base.generation + 1;
  last.end = JobEnd::kStateLost;
  return Checked(std::move(last));
}

// Of the first pair of workers that differ in their terms; empty: none do.
std::string MismatchOf(const std::vector<const Answer*>& answers) {
  const Answer* first = nullptr;
  auto name = [](const Answer& answer) { return "member " + std::to_string(answer.from.member); };
  for (const Answer* answer : answers) {
    if (answer->promise.agent.worker.IsNone()) continue;
    if (first == nullptr) first = answer;
    std::string mismatch =
        Difference(name(*first), first->promise.terms, name(*answer), answer->promise.terms);
    if (!mismatch.empty()) return mismatch;
  }
  return "";
}

// See FirstValue.
void EndIfMismatched(Decision& decision, const std::vector<const Answer*>& answers) {
#ifdef CLOSERANKS_PLANT_TERMS_IGNORED
  return;
#endif
  if (decision.resume.reduced_in != 0) return;
  decision.mismatch = MismatchOf(answers);
  if (!decision.mismatch.empty()) decision.end = JobEnd::kMismatch;
}

}  // namespace

MemberId WhoKeeps(const std::set<MemberId>& have_it,
                  const std::function<bool(MemberId)>& has_successor) {
  for (MemberId member : have_it) {
    if (!has_successor(member)) return member;
  }
  return have_it.empty() ? -1 : *have_it.begin();
}

DecisionRef ObligedValue(const std::vector<Answer>& voters) {
  const AcceptedValue* highest = nullptr;
  for (const Answer& answer : voters) {
    const auto& accepted = answer.promise.accepted;
    if (accepted.has_value() && (highest == nullptr || highest->ballot < accepted->ballot)) {
      highest = &*accepted;
    }
  }
  if (highest == nullptr) return nullptr;
  // Of a start that ends in a mismatch nothing can follow, so it needs no vote's protection: who
  // came since would be obliged to it again and again, and never learn it.
  const Decision& value = *highest->value;
  const bool ends_at_once = value.generation == 1 && value.job_ended();
  const bool all_are_listed = std::all_of(voters.begin(), voters.end(), [&](const Answer& voter) {
    return value.FindSupervisor(voter.from) != nullptr;
  });
  return ends_at_once && !all_are_listed ? nullptr : highest->value;
}

Choice FirstValue(const std::vector<Answer>& answers, const Incarnation& lineage) {
  Decision first;
  first.lineage = lineage;
  first.generation = 1;
  std::optional<WorkerState> resume;
  std::vector<const Answer*> all;
  for (const Answer& answer : answers) {
    all.push_back(&answer);
    const PromiseMessage& promise = answer.promise;
    if (promise.agent.worker.IsNone() && !promise.agent.witness) {
      return {nullptr, "member " + std::to_string(answer.from.member) + " has no worker yet"};
    }
    first.members.push_back(ToListed(answer));
    // Several may have restored different checkpoints: the newest counts, the lowest member's of
    // these.
    if (!promise.agent.worker.IsNone() && promise.state.has_value() &&
        (!resume.has_value() || promise.state->applied > resume->applied)) {
      resume = promise.state;
    }
  }
  if (!resume.has_value()) return {nullptr, "no worker has a state to begin from"};
  resume->reduced_in = 0;
  first.resume = *resume;
  first.floor = resume->applied;
  first.history.push_back({0, resume->applied, resume->hash});
  std::sort(first.members.begin(), first.members.end(),
            [](const ListedMember& a, const ListedMember& b) { return a.member < b.member; });
  EndIfMismatched(first, all);
  return Checked(std::move(first));
}

Choice NextValue(const Decision& base, const std::vector<Answer>& answers) {
  const std::vector<Candidate> candidates = FindCandidates(base, answers);
  std::optional<StepNumber> floor;
  for (const Candidate& candidate : candidates) {
    if (!candidate.is_holder) continue;
    floor = std::min(floor.value_or(candidate.applied()), candidate.applied());
  }
  if (!floor.has_value()) {
    const std::vector<MemberId> unanswered = Unanswered(base, answers);
    if (unanswered.empty()) return StateLost(base);
    return {nullptr,
            "none of those who answered has a worker that holds the job's history: bring back " +
                Names(unanswered)};
  }
  std::vector<Candidate> staying = WithoutTwins(base, candidates);
  const bool all_leave = DropLeavers(staying);
  std::vector<Candidate> kept = KeepConnected(staying);
  if (kept.empty()) return {nullptr, "nobody who stays holds the job's history"};

  Decision next;
  next.lineage = base.lineage;
  next.generation = base.generation + 1;
  std::vector<const Answer*> listed;
  for (const Candidate& candidate : kept) {
    next.members.push_back(ToListed(*candidate.answer));
    listed.push_back(candidate.answer);
  }
  next.resume = ChooseResume(kept);
  // Also of holders that aren't listed: a step that all of them have may be stable, and whoever
  // counts as a holder later must have it. With the resume step alone, a listed worker that had not
  // caught up could count later and undo it.
  next.floor = *floor;
  next.history = ExtendHistory(base, next.resume);
  SettlePredecessors(base, next);
  DisplaceOlder(base, candidates, kept, next);
  if (AllDone(candidates, next.resume)) {
    next.end = JobEnd::kDone;
  } else if (all_leave) {
    next.end = JobEnd::kAllLeft;
  } else {
    EndIfMismatched(next, listed);
  }
  CHECK_GE(next.floor, base.floor);
  return Checked(std::move(next));
}

}  // namespace closeranks::rendezvous
