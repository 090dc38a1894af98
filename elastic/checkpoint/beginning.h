// How a start of a run begins: at the newest checkpoint that can be used, or from nothing.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_BEGINNING_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_BEGINNING_H_

#include <optional>
#include <string>

#include "base/member.h"
#include "base/status.h"
#include "elastic/checkpoint/store.h"
#include "elastic/lineage.h"

namespace closeranks::elastic {

// What a new start of a run goes on from.
struct Resume {
  enum class Kind { kNewest, kNothing, kStep };
  Kind kind = Kind::kNewest;
  StepNumber step = 0;  // of kStep
};

struct Beginning {
  Lineage lineage;
  std::optional<StoredState> state;  // none: from nothing
};

// Finds the newest checkpoint that verifies, saying why those before it don't, reads it and begins
// a lineage there. `run`: see Manifest. Blocks on the disk. kInvalidArgument when there is none
// that can be used, but some that should be. Another start of the run that still lives may remove
// what is just being read: then it chooses again, and kUnavailable when that goes on.
Result<Beginning> ChooseBeginning(const CheckpointStore& store, const Resume& resume,
                                  const std::string& run);

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_BEGINNING_H_
