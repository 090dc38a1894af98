#include "elastic/checkpoint/beginning.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "glog/logging.h"

namespace closeranks::elastic {
namespace {

// Each finds that what it had chosen is gone.
constexpr int kTriesToBegin = 5;

// Ok when a run may begin from nothing.
Status MayBeginFromNothing(const CheckpointStore& store, const Resume& resume) {
  if (resume.kind == Resume::Kind::kNothing) return OkStatus();
  ASSIGN_OR_RETURN(std::vector<CheckpointName> whole, store.Whole());
  if (whole.empty()) return OkStatus();
  ASSIGN_OR_RETURN(std::vector<Lineage> lineages, store.Lineages());
  const Lineage& newest = lineages.back();
  const std::string found = "the " + std::to_string(whole.size()) + " checkpoints in " +
                            store.folder() + " are void, as the newest start of this run went on ";
  if (newest.parent != 0) {
    return InvalidArgument(found + "from step " + std::to_string(newest.step) + " of lineage " +
                           std::to_string(newest.parent) +
                           ", which isn't there any more; without the folder of lineage " +
                           std::to_string(newest.number) +
                           " a start goes on as that one could have, and --resume=never begins "
                           "from nothing");
  }
  LOG(WARNING) << found << "from nothing: so does this one";
  return OkStatus();
}

// Nothing: what it had chosen was removed meanwhile. `before`: as in Candidates().
Result<std::optional<Beginning>> TryToBegin(const CheckpointStore& store, const Resume& resume,
                                            const std::string& run, int64_t* before) {
  std::vector<CheckpointName> candidates;
  if (resume.kind != Resume::Kind::kNothing) {
    ASSIGN_OR_RETURN(candidates, store.Candidates(*before));
  }
  if (resume.kind == Resume::Kind::kStep) {
    std::erase_if(candidates, [&](const CheckpointName& name) { return name.step != resume.step; });
    if (candidates.empty()) {
      return InvalidArgument("there is no checkpoint of step " + std::to_string(resume.step) +
                             " in " + store.folder() + " ('closeranks checkpoint ls' lists them)");
    }
  }
  Status why;
  for (const CheckpointName& name : candidates) {
    auto stored = store.Read(name);
    if (!stored.ok()) {
      ASSIGN_OR_RETURN(bool is_whole, store.IsWhole(name));
      if (!is_whole) return std::optional<Beginning>();
      why = stored.status();
      LOG(WARNING) << "the checkpoint " << name.ToString()
                   << " can't be used, so the one before it is tried: " << why.message();
      continue;
    }
    if (stored->manifest.run != run) {
      return InvalidArgument("the checkpoint " + name.ToString() + " in " + store.folder() +
                             " is of another run: its has " + stored->manifest.run +
                             ", this one has " + run +
                             "; start with its settings (where none is given, --logical-shards "
                             "follows from the number of workers), or with --resume=never");
    }
    ASSIGN_OR_RETURN(Lineage lineage, store.BeginLineage(name.lineage, name.step));
    // From now on the start before commits nothing more, and removes nothing that this one needs;
    // but it may have done so since the state was read.
    ASSIGN_OR_RETURN(bool is_whole, store.IsWhole(name));
    if (!is_whole) {
      *before = std::min(*before, lineage.number);
      return std::optional<Beginning>();
    }
    LOG(INFO) << "goes on from step " << name.step << ", the checkpoint " << name.ToString();
    return std::optional(Beginning{lineage, *std::move(stored)});
  }
  if (!candidates.empty()) {
    return InvalidArgument("none of the " + std::to_string(candidates.size()) + " checkpoints in " +
                           store.folder() + " can be used (" + why.message() +
                           "); --resume=never begins from nothing");
  }
  RETURN_IF_ERROR(MayBeginFromNothing(store, resume));
  ASSIGN_OR_RETURN(Lineage lineage, store.BeginLineage(0, 0));
  return std::optional(Beginning{lineage, std::nullopt});
}

}  // namespace

Result<Beginning> ChooseBeginning(const CheckpointStore& store, const Resume& resume,
                                  const std::string& run) {
  int64_t before = CheckpointStore::kNoLineage;
  for (int i = 0; i < kTriesToBegin; ++i) {
    ASSIGN_OR_RETURN(std::optional<Beginning> beginning, TryToBegin(store, resume, run, &before));
    if (beginning.has_value()) return *std::move(beginning);
  }
  return Unavailable("the checkpoints in " + store.folder() +
                     " are removed while they are read: does another start of this run go on?");
}

}  // namespace closeranks::elastic
