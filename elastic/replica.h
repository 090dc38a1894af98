// What an elastic run keeps equal on every rank, seen from the outside: this is all that elastic/
// knows of a model, an optimizer and gradients.
#ifndef CLOSERANKS_ELASTIC_REPLICA_H_
#define CLOSERANKS_ELASTIC_REPLICA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/member.h"
#include "base/status.h"
#include "collectives/communicator.h"
#include "elastic/parts.h"
#include "elastic/state.h"

namespace closeranks::elastic {

// A piece of memory of `count` elements.
struct Buffer {
  void* data = nullptr;
  size_t count = 0;
  DataType type = DataType::kFloat32;
};

// All calls come from the training thread. Its state, bit for bit, is what defines the run after a
// step.
class Replica : public StateOwner {
 public:
  // The gradients of `step` are collected from now on; those of the step before are forgotten, its
  // reduced gradients are kept until the end of this step's reduction.
  virtual void BeginStep(StepNumber step) = 0;
  // By what this step's gradients are reduced, and in exact mode who owns which shard. Comes again
  // within a step when the world has changed: what was collected stays.
  virtual void BeginReduction(std::shared_ptr<Communicator> communicator,
                              std::vector<int> shard_owners) = 0;
  // `part` is about to be computed: what that draws on besides its samples (random numbers, a
  // model's buffers) is to be as on any rank. Not called for a part without samples.
  virtual void PreparePart(StepNumber, const Part&) {}
  // The gradients that come from now on belong to `part`; `last`: nothing follows it in this step
  // here, so the reduction may begin while it is computed.
  virtual void BeginPart(StepNumber step, const Part& part, bool last) = 0;
  virtual void EndPart() = 0;
  // Starts what is left of the reduction; what it starts precedes whatever the caller starts next.
  virtual void StartReduction() = 0;
  // Waits for it. On an error the local gradients stay as they are.
  virtual Status FinishReduction() = 0;
  // Updates the parameters with the reduced gradients of `step`.
  virtual void Apply(StepNumber step) = 0;

  // The reduced gradients of `step`, to be sent to who is behind or to be received; the same counts
  // on every rank. Valid for the newest reduced step and for the one after it.
  virtual std::vector<Buffer> ReducedGradients(StepNumber step) = 0;

  // Of what an update depends on besides gradients and Pieces(): options that the program may
  // change between updates, such as a learning rate.
  virtual uint64_t SettingsHash() const { return 0; }
  // Of every bit of what was trained.
  virtual uint64_t WeightsHash() const = 0;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_REPLICA_H_
