// Which rank computes which part of a global batch: pure functions that every rank evaluates alike.
//
// A step's batch is positions [0, batch). In exact mode it is divided once and for all into logical
// shards, whatever the world; ranks own shards. In fast mode it is divided evenly over the ranks.
// After a loss the survivors keep what they have computed, and only what is missing is divided
// anew.
#ifndef CLOSERANKS_ELASTIC_PARTS_H_
#define CLOSERANKS_ELASTIC_PARTS_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace closeranks::elastic {

// Positions [begin, end) of the global batch. `shard` is the logical shard in exact mode (the part
// may then be empty, when the batch has fewer samples than there are shards), and -1 in fast mode.
struct Part {
  int shard = -1;
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
  auto operator<=>(const Part&) const = default;
};

// The parts of one rank, ascending.
using Parts = std::vector<Part>;

struct Division {
  int batch = 0;           // samples in this step's global batch
  int logical_shards = 0;  // exact mode; 0 is fast mode
};

// The parts of each rank in an undisturbed step. In exact mode rank r owns the contiguous run of
// shards [r * L / ranks, (r + 1) * L / ranks).
std::vector<Parts> DivideBatch(const Division& division, int ranks);

// Who was left out of a world for a while may hold parts that others computed again meanwhile: of
// ranks that hold the same, all but the lowest hold nothing any more.
void DropRepeated(std::vector<Parts>* held);

// What each rank still has to compute, given what each holds (disjoint): the missing parts, dealt
// to the ranks that hold the least, lower ranks first. kInternal when what is held overlaps or
// isn't of this division.
Result<std::vector<Parts>> DivideMissing(const Division& division, std::span<const Parts> held);

// For each logical shard the rank that holds it, given disjoint parts that cover the batch; empty
// in fast mode.
std::vector<int> ShardOwners(const Division& division, std::span<const Parts> held);

// `parts[i]` as those of rank `ranks[i]`, of `size` ranks; the others have none.
std::vector<Parts> OfRanks(std::span<const int> ranks, int size, std::vector<Parts> parts);

std::string EncodeParts(const Parts& parts);
Result<Parts> DecodeParts(std::string_view bytes);

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_PARTS_H_
