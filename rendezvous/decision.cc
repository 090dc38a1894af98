#include "rendezvous/decision.h"

#include <algorithm>
#include <set>

namespace closeranks::rendezvous {
namespace {

Status Contradiction(const Decision& decision, const std::string& what) {
  return InvalidArgument("decision of generation " + std::to_string(decision.generation) + ": " +
                         what);
}

}  // namespace

World Decision::world() const {
  World world{generation, {}};
  for (const ListedMember& listed : members) {
    if (!listed.worker.IsNone()) world.ranks.push_back({listed.member, listed.worker});
  }
  return world;
}

int Decision::hosts() const {
  std::vector<Incarnation> hosts;
  for (const ListedMember& listed : members) {
    if (!listed.witness) hosts.push_back(listed.supervisor);
  }
  std::sort(hosts.begin(), hosts.end());
  return static_cast<int>(std::unique(hosts.begin(), hosts.end()) - hosts.begin());
}

const ListedMember* Decision::Find(MemberId member) const {
  auto found = std::lower_bound(
      members.begin(), members.end(), member,
      [](const ListedMember& listed, MemberId wanted) { return listed.member < wanted; });
  return found != members.end() && found->member == member ? &*found : nullptr;
}

const ListedMember* Decision::FindSupervisor(const MemberProcess& supervisor) const {
  const ListedMember* listed = Find(supervisor.member);
#ifdef CLOSERANKS_PLANT_VOTES_BOUND_TO_MEMBERS
  return listed;
#else
  return listed != nullptr && listed->supervisor == supervisor.incarnation ? listed : nullptr;
#endif
}

bool Decision::IsDisplaced(const MemberProcess& process) const {
  return std::find(displaced.begin(), displaced.end(), process) != displaced.end();
}

int Decision::TotalWeight() const {
  int total = 0;
  for (const ListedMember& listed : members) total += listed.weight;
  return total;
}

int Decision::QuorumWeight() const {
#ifdef CLOSERANKS_PLANT_QUORUM_OFF_BY_ONE
  return std::max(1, TotalWeight() / 2);
#else
  return TotalWeight() / 2 + 1;
#endif
}

bool Decision::IsQuorum(const std::function<bool(const ListedMember&)>& has_voted) const {
  int weight = 0;
  for (const ListedMember& listed : members) {
    if (has_voted(listed)) weight += listed.weight;
  }
  return weight >= QuorumWeight();
}

bool Decision::OnLine(const WorkerState& state) const {
  for (size_t i = 0; i < history.size(); ++i) {
    const Segment& segment = history[i];
    if (state.applied > segment.last) continue;
    if (state.applied == segment.last) {
      return state.reduced_in == segment.generation && state.hash == segment.hash;
    }
    // Inside a segment the generation tells: what it reduced is the same for all of its workers.
    // Before the first point nothing is known.
    return i > 0 && state.reduced_in == segment.generation;
  }
  return state.reduced_in == generation;
}

CatchUp Decision::NeededBy(const std::optional<WorkerState>& state) const {
  // What is above the resume step was applied by some and is done again: it can't be kept.
  if (!state.has_value() || !Holds(*state) || state->applied > resume.applied) {
    return CatchUp::kTransfer;
  }
  return *state == resume ? CatchUp::kNothing : CatchUp::kMissingSteps;
}

Status Decision::Validate() const {
  if (generation == 0) return Contradiction(*this, "generation 0 is before any decision");
  if (lineage.IsNone()) return Contradiction(*this, "no lineage");
  if (members.empty()) return Contradiction(*this, "nobody is listed");
  if (members.size() > kMaxListedMembers) return Contradiction(*this, "too many members");
  for (size_t i = 0; i < members.size(); ++i) {
    const ListedMember& listed = members[i];
    const std::string who = "member " + std::to_string(listed.member);
    if (listed.member < 0 || (i > 0 && listed.member <= members[i - 1].member)) {
      return Contradiction(*this, "members are not in ascending order at " + who);
    }
    if (listed.supervisor.IsNone()) return Contradiction(*this, who + " has no supervisor");
    if (listed.witness && !listed.worker.IsNone()) {
      return Contradiction(*this, who + " is a witness and has a worker");
    }
    if (listed.card.size() > kMaxCardBytes)
      return Contradiction(*this, who + "'s card is too long");
    if (IsDisplaced({listed.member, listed.supervisor}) ||
        IsDisplaced({listed.member, listed.worker})) {
      return Contradiction(*this, who + " is listed and displaced");
    }
  }
  std::vector<ListedMember> weighed = members;
  AssignWeights(weighed);
  if (weighed != members) return Contradiction(*this, "weights other than the tie rule's");
  if (history.empty() ||
      history.back() != Segment{resume.reduced_in, resume.applied, resume.hash}) {
    return Contradiction(*this, "the history doesn't end at the resume step");
  }
  for (size_t i = 0; i < history.size(); ++i) {
    if (history[i].generation >= generation) {
      return Contradiction(*this, "its history has steps of its own");
    }
    if (i > 0 && (history[i].last <= history[i - 1].last ||
                  history[i].generation <= history[i - 1].generation)) {
      return Contradiction(*this, "the history is not in ascending order");
    }
  }
  if (end > JobEnd::kMismatch) return Contradiction(*this, "an unknown kind of end");
  if ((end == JobEnd::kMismatch) == mismatch.empty() || mismatch.size() > kMaxMismatchBytes) {
    return Contradiction(*this, "a mismatch and no text of it, or the reverse");
  }
  if (floor > resume.applied) return Contradiction(*this, "the floor is above the resume step");
  return OkStatus();
}

void AssignWeights(std::vector<ListedMember>& members) {
  for (ListedMember& listed : members) listed.weight = 1;
  if (!members.empty() && members.size() % 2 == 0) members.front().weight = 2;
}

void Encode(const WorkerState& state, ByteWriter& writer) {
  writer.Put(state.applied);
  writer.Put(state.reduced_in);
  writer.Put(state.hash);
}

WorkerState DecodeWorkerState(ByteReader& reader) {
  WorkerState state;
  state.applied = reader.Get<StepNumber>();
  state.reduced_in = reader.Get<Generation>();
  state.hash = reader.Get<uint64_t>();
  return state;
}

void Encode(const Decision& decision, ByteWriter& writer) {
  writer.Put(decision.lineage);
  writer.Put(decision.generation);
  writer.Put(static_cast<uint32_t>(decision.members.size()));
  for (const ListedMember& listed : decision.members) {
    writer.Put(listed.member);
    writer.Put(listed.supervisor);
    writer.Put(listed.worker);
    writer.Put(static_cast<uint8_t>(listed.witness));
    writer.Put(static_cast<int32_t>(listed.weight));
    writer.PutString(listed.card);
  }
  Encode(decision.resume, writer);
  writer.Put(decision.floor);
  writer.Put(static_cast<uint32_t>(decision.history.size()));
  for (const Segment& segment : decision.history) {
    writer.Put(segment.generation);
    writer.Put(segment.last);
    writer.Put(segment.hash);
  }
  writer.Put(static_cast<uint32_t>(decision.displaced.size()));
  for (const MemberProcess& process : decision.displaced) writer.Put(process);
  writer.Put(static_cast<uint32_t>(decision.absent.size()));
  for (const AbsentMember& absent : decision.absent) {
    writer.Put(absent.member);
    writer.Put(absent.supervisor);
    writer.Put(absent.worker);
  }
  writer.Put(static_cast<uint8_t>(decision.end));
  writer.PutString(decision.mismatch);
}

Decision DecodeDecision(ByteReader& reader) {
  Decision decision;
  decision.lineage = reader.GetIncarnation();
  decision.generation = reader.Get<Generation>();
  decision.members.resize(reader.GetCount(45));
  for (ListedMember& listed : decision.members) {
    listed.member = reader.Get<MemberId>();
    listed.supervisor = reader.GetIncarnation();
    listed.worker = reader.GetIncarnation();
    listed.witness = reader.Get<uint8_t>() != 0;
    listed.weight = reader.Get<int32_t>();
    listed.card = reader.GetString();
  }
  decision.resume = DecodeWorkerState(reader);
  decision.floor = reader.Get<StepNumber>();
  decision.history.resize(reader.GetCount(24));
  for (Segment& segment : decision.history) {
    segment.generation = reader.Get<Generation>();
    segment.last = reader.Get<StepNumber>();
    segment.hash = reader.Get<uint64_t>();
  }
  decision.displaced.resize(reader.GetCount(20));
  for (MemberProcess& process : decision.displaced) process = reader.GetMemberProcess();
  decision.absent.resize(reader.GetCount(36));
  for (AbsentMember& absent : decision.absent) {
    absent.member = reader.Get<MemberId>();
    absent.supervisor = reader.GetIncarnation();
    absent.worker = reader.GetIncarnation();
  }
  decision.end = static_cast<JobEnd>(reader.Get<uint8_t>());
  decision.mismatch = reader.GetString();
  return decision;
}

std::ostream& operator<<(std::ostream& out, const WorkerState& state) {
  return out << state.applied << "@" << state.reduced_in;
}

std::ostream& operator<<(std::ostream& out, const Decision& decision) {
  out << "gen " << decision.generation << ":";
  for (const ListedMember& listed : decision.members) {
    out << " " << listed.member << "(";
    if (listed.worker.IsNone()) {
      out << (listed.witness ? "witness" : "no worker");
    } else {
      out << listed.worker.ToShortString();
    }
    out << ")";
  }
  out << " resume " << decision.resume << " floor " << decision.floor;
  if (decision.end == JobEnd::kDone) out << " (the job's end)";
  if (decision.end == JobEnd::kAllLeft) out << " (the job's end: everybody leaves)";
  if (decision.end == JobEnd::kStateLost) out << " (the job's end: its state is lost)";
  if (decision.end == JobEnd::kMismatch) out << " (the job's end: " << decision.mismatch << ")";
  return out;
}

}  // namespace closeranks::rendezvous
