// Finds out that ranks hold different state which is to be equal: something was changed on some of
// them only.
#ifndef CLOSERANKS_ELASTIC_AUDIT_H_
#define CLOSERANKS_ELASTIC_AUDIT_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "collectives/communicator.h"
#include "elastic/state.h"

namespace closeranks::elastic {

// By rank: who has no state to compare, as it is still on its way there. Empty: everyone has.
using LeftOut = std::vector<bool>;

// Which ranks have which hash: "rank 0,2 has 00c0ffee00c0ffee, rank 1 has ...". Empty where all
// have the same.
std::string WhoHasWhat(std::span<const uint64_t> hash_of_rank, const LeftOut& left_out = {});

// Collective, between steps: all ranks call it at the same place, with the same step applied; who
// is left out, of which the others are told alike, hears what comes of it. Costs an all-gather of 8
// bytes, and a pass over the state. kMismatch, on every rank, names the tensors that differ and the
// ranks; other errors are the communicator's.
Status Audit(Communicator& communicator, StateOwner& state, const LeftOut& left_out = {});

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_AUDIT_H_
