// The checkpoint folder. Under it:
//
//   lineage-000002/lineage.json                where that lineage comes from
//   lineage-000002/step-0000001234.g3/         a checkpoint; g3: of generation 3
//     shard-00001-of-00004.safetensors         what rank 0 wrote
//     manifest.json                            it is whole
//
// A checkpoint is written by all ranks: each its shard and then whoever commits it the manifest,
// once every shard is synced. A folder without a manifest is what a failure left.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_STORE_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_STORE_H_

#include <compare>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/member.h"
#include "base/status.h"
#include "elastic/checkpoint/manifest.h"
#include "elastic/state.h"

namespace closeranks::elastic {

// Which checkpoint. Later ones are greater.
struct CheckpointName {
  int64_t lineage = 0;
  StepNumber step = 0;
  Generation generation = 0;
  auto operator<=>(const CheckpointName&) const = default;
  // "lineage-000002/step-0000001234.g3"
  std::string ToString() const;
};

// A state in memory.
struct StoredState {
  Manifest manifest;
  std::string id;                  // the manifest's checksum
  std::vector<std::string> files;  // what the pieces point to
  std::vector<Piece> pieces;
};

// Has no state but the names. Calls block on the disk, and may come from any thread. `files`
// outlives it. Errors name the file: kResourceExhausted for a full disk, kUnavailable for what
// isn't there or can't be read, kInvalidArgument for what isn't as it was written.
class CheckpointStore {
 public:
  static constexpr int64_t kNoLineage = std::numeric_limits<int64_t>::max();

  CheckpointStore(Files& files, std::string folder) : files_(files), folder_(std::move(folder)) {}
  const std::string& folder() const { return folder_; }

  // Of all lineages, ascending. None where there is no folder. kInvalidArgument where checkpoints
  // have lost the record of their lineage.
  Result<std::vector<Lineage>> Lineages() const;
  // Of all lineages, ascending: those with a manifest, and those without.
  Result<std::vector<CheckpointName>> Whole() const;
  Result<std::vector<CheckpointName>> Torn() const;
  // Those that the newest lineage may go on from, newest first: its own, its parent's up to where
  // it began, and so on. `before`: as it was before this lineage began.
  Result<std::vector<CheckpointName>> Candidates(int64_t before = kNoLineage) const;
  Result<bool> IsWhole(const CheckpointName& name) const;

  Result<Manifest> ReadManifest(const CheckpointName& name) const;
  // Reads everything, and checks every checksum.
  Result<StoredState> Read(const CheckpointName& name) const;

  // Makes the next lineage's record. Of several at once each gets a number of its own.
  Result<Lineage> BeginLineage(int64_t parent, StepNumber step) const;

  // Writes and syncs one rank's part, with its folders; `shard` from 0. kAborted when it is there
  // already: it may be a whole checkpoint's.
  Status WriteShard(const CheckpointName& name, int shard, int shards,
                    std::span<const Piece> pieces) const;
  // Once every shard is synced: makes the manifest of what is in them and commits it. `manifest`
  // says everything but files and tensors; its tensors must be `expected` by name, no more and no
  // fewer. kStaleGeneration when a later lineage has begun.
  Status Commit(Manifest manifest, const std::vector<std::string>& expected) const;

  // Of the newest lineage and those that it comes from, removes all but the newest `keep`
  // candidates, and the torn ones before the newest. What can't be removed is left, and so is all
  // that isn't removed yet when another lineage begins, which may go on from it.
  Status RemoveOld(int keep) const;

 private:
  std::string PathOf(const CheckpointName& name) const;
  Result<std::vector<CheckpointName>> Find(bool whole) const;
  // The newest lineage and those that it comes from, and up to which step each counts.
  using Line = std::map<int64_t, StepNumber>;
  Result<Line> NewestLine(int64_t before = kNoLineage) const;
  Status AddShard(const std::string& path, const std::string& file, Manifest& manifest) const;
  Status RemoveOne(const CheckpointName& name) const;

  Files& files_;
  std::string folder_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_STORE_H_
