// What a generation's agreement fixes, and what follows from it: who is listed, whose votes decide
// the next generation, where work resumes, and which states are on the line of history.
//
// Plain values: no sockets, no threads, no clocks. A decision never changes once it was made; it is
// passed around as a DecisionRef that any thread may read.
#ifndef CLOSERANKS_RENDEZVOUS_DECISION_H_
#define CLOSERANKS_RENDEZVOUS_DECISION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/member.h"
#include "base/status.h"
#include "rendezvous/terms.h"

namespace closeranks::rendezvous {

inline constexpr size_t kMaxCardBytes = 1024;
inline constexpr size_t kMaxListedMembers = 16384;
inline constexpr size_t kMaxMismatchBytes = 3 * kMaxTermsBytes;

// Where a stopped worker stands. `hash` runs over its whole history, so that two workers which came
// to one step by different ways differ.
struct WorkerState {
  StepNumber applied = 0;     // the last step it applied; 0: its initial state
  Generation reduced_in = 0;  // the generation whose workers reduced that step; 0: none did
  uint64_t hash = 0;
  bool operator==(const WorkerState&) const = default;
};

// A member of a generation: its agent votes, and its worker, if it has one, computes.
struct ListedMember {
  MemberId member = -1;
  Incarnation supervisor;  // of the process that votes
  Incarnation worker;      // none: it has none now, or is a witness; then it only votes
  std::string card;        // how to reach the worker; opaque here, at most kMaxCardBytes
  int weight = 1;          // of its vote; the tie rule is in it
  bool witness = false;    // never has a worker
  bool operator==(const ListedMember&) const = default;
};

// Who was listed before and isn't now, so that a successor can displace it.
struct AbsentMember {
  MemberId member = -1;
  Incarnation supervisor;
  Incarnation worker;
  bool operator==(const AbsentMember&) const = default;
};

// Steps up to `last` that were reduced in `generation`; `hash` is the history's at `last`.
struct Segment {
  Generation generation = 0;
  StepNumber last = 0;
  uint64_t hash = 0;
  bool operator==(const Segment&) const = default;
};

enum class CatchUp {
  kNothing,       // it is at the resume step
  kMissingSteps,  // on the line, at or above the floor: the reduced steps it lacks are still kept
  kTransfer,      // everything has to be sent
};

enum class JobEnd : uint8_t {
  kNone,
  kDone,       // every worker has applied the last step
  kAllLeft,    // everybody was told to leave, and stopped at the same step
  kStateLost,  // no worker is left that could hand the job's state to another
  kMismatch,   // its workers differ in their terms, and nothing was trained yet
};

struct Decision {
  Incarnation lineage;  // drawn by whoever proposed generation 1; decisions of two never compare
  Generation generation = 0;
  std::vector<ListedMember> members;  // in ascending order of member
  WorkerState resume;                 // where the listed workers go on from
  StepNumber floor = 0;  // no listed worker that counts as a holder of the history is below it
  // Ascending, bounded; the last is `resume`. The first is a point: what lies before it is
  // forgotten.
  std::vector<Segment> history;
  // Processes (supervisors and workers) whose member was listed again with another one: never
  // readmitted.
  std::vector<MemberProcess> displaced;
  std::vector<AbsentMember> absent;
  JobEnd end = JobEnd::kNone;
  std::string mismatch;  // of kMismatch: in what two of its workers differ, with both values

  bool operator==(const Decision&) const = default;

  bool job_ended() const { return end != JobEnd::kNone; }
  // The listed workers; who only votes has no rank.
  World world() const;
  // How many supervisors are listed, those of witnesses aside: one whose worker has just crashed
  // has another soon.
  int hosts() const;
  const ListedMember* Find(MemberId member) const;
  // Null unless exactly this supervisor is listed.
  const ListedMember* FindSupervisor(const MemberProcess& supervisor) const;
  bool IsDisplaced(const MemberProcess& process) const;

  int TotalWeight() const;
  // The least weight that decides: more than half.
  int QuorumWeight() const;
  // Whether those listed members for whom `has_voted` is true decide. Any two quorums share a
  // member.
  bool IsQuorum(const std::function<bool(const ListedMember&)>& has_voted) const;

  // Whether a worker in `state` is on this generation's line: the decision's history, and then the
  // steps that this generation reduced. By step number alone an old step would pass for a new one.
  bool OnLine(const WorkerState& state) const;
  // On the line, and not below the floor. Only a listed worker that is alive counts as a holder,
  // which the caller sees to.
  bool Holds(const WorkerState& state) const { return OnLine(state) && state.applied >= floor; }
  // What a worker in `state` (none: it has nothing, or a part of a transfer) needs to start here.
  CatchUp NeededBy(const std::optional<WorkerState>& state) const;

  // kInvalidArgument with the reason when a field contradicts another.
  Status Validate() const;
};

using DecisionRef = std::shared_ptr<const Decision>;

// One vote each; with an even number of voters the lowest member counts twice. Never chosen by who
// can be reached, or two halves could choose differently. `members` must be in ascending order.
void AssignWeights(std::vector<ListedMember>& members);

void Encode(const WorkerState& state, ByteWriter& writer);
WorkerState DecodeWorkerState(ByteReader& reader);
void Encode(const Decision& decision, ByteWriter& writer);
// The reader's failed() tells whether it was all there; check Validate() before trusting it.
Decision DecodeDecision(ByteReader& reader);

// "gen 4: 0(1a2b3c4d) 1(no worker) 2(witness) resume 17@3 floor 16"
std::ostream& operator<<(std::ostream& out, const Decision& decision);
std::ostream& operator<<(std::ostream& out, const WorkerState& state);

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_DECISION_H_
