// What the ranks of a new generation tell each other before they step, and what follows from it.
#ifndef CLOSERANKS_ELASTIC_CATCH_UP_H_
#define CLOSERANKS_ELASTIC_CATCH_UP_H_

#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "collectives/communicator.h"
#include "elastic/ledger.h"
#include "elastic/parts.h"
#include "rendezvous/decision.h"

namespace closeranks::elastic {

// One rank's word at the start of a generation.
struct RankRecord {
  rendezvous::WorkerState state;
  Parts held;  // computed parts of step state.applied + 1
  // The reduced gradients of step state.applied are kept here: who received its state whole has
  // none.
  bool keeps_step = false;
  bool leaves = false;  // after this step at the latest
};

// What becomes of `state` by one more step, which `generation` reduced.
rendezvous::WorkerState StateAfter(rendezvous::WorkerState state, StepNumber step,
                                   Generation generation, const StepSamples& samples);

// Every rank's bytes, of any length, by rank. Blocks; errors are the communicator's.
Result<std::vector<std::string>> GatherBytes(Communicator& communicator, std::string mine);

// Every rank's record, by rank. Blocks; errors are the communicator's.
Result<std::vector<RankRecord>> ExchangeRecords(Communicator& communicator, const RankRecord& mine);

enum class Standing {
  kCurrent,     // holds the step that the generation resumes from
  kOneBehind,   // needs that step's reduced gradients
  kNeedsState,  // needs everything
};

struct CatchUpPlan {
  std::vector<Standing> standings;  // by rank
  int source = -1;                  // the lowest rank that is current
  int step_source = -1;             // the lowest one that also keeps the step; -1: there is none
  std::vector<Parts> held;          // of the step after the resumed one, by rank; disjoint
  bool AnyoneIs(Standing standing) const;
  // Somebody holds a part of the step after the resumed one.
  bool IsBegun() const;
};

// The same on every rank. kInternal when nobody holds what the decision resumes from, which the
// agreement rules out.
Result<CatchUpPlan> PlanCatchUp(const rendezvous::Decision& decision,
                                std::span<const RankRecord> records);

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CATCH_UP_H_
