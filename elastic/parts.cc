#include "elastic/parts.h"

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"

namespace closeranks::elastic {
namespace {

Part ShardPart(const Division& division, int shard) {
  auto at = [&](int s) {
    return static_cast<int>(int64_t{division.batch} * s / division.logical_shards);
  };
  return {shard, at(shard), at(shard + 1)};
}

bool Overlap(const Part& a, const Part& b) {
  if (a.shard >= 0) return a.shard == b.shard;
  return a.begin < b.end && b.begin < a.end;
}

int SamplesIn(const Parts& parts) {
  int samples = 0;
  for (const Part& part : parts) samples += part.size();
  return samples;
}

// Index of the least loaded rank, the lowest of them.
int LeastLoaded(const std::vector<int>& load) {
  return static_cast<int>(std::min_element(load.begin(), load.end()) - load.begin());
}

Result<std::vector<Parts>> DivideMissingShards(const Division& division,
                                               std::span<const Parts> held) {
  std::vector<int> owners = ShardOwners(division, held);
  std::vector<int> load;
  for (const Parts& parts : held) load.push_back(SamplesIn(parts));
  std::vector<Parts> missing(held.size());
  for (int shard = 0; shard < division.logical_shards; ++shard) {
    if (owners[shard] >= 0) continue;
    Part part = ShardPart(division, shard);
    int rank = LeastLoaded(load);
    load[rank] += part.size();
    missing[rank].push_back(part);
  }
  return missing;
}

// The gaps between what is held.
Result<Parts> MissingRanges(const Division& division, std::span<const Parts> held) {
  Parts all;
  for (const Parts& parts : held) all.insert(all.end(), parts.begin(), parts.end());
  std::sort(all.begin(), all.end(), [](const Part& a, const Part& b) { return a.begin < b.begin; });
  Parts gaps;
  int covered = 0;
  for (const Part& part : all) {
    if (part.begin < covered) return Internal("two ranks hold the same part of the batch");
    if (part.begin > covered) gaps.push_back({-1, covered, part.begin});
    covered = part.end;
  }
  if (covered < division.batch) gaps.push_back({-1, covered, division.batch});
  return gaps;
}

Result<std::vector<Parts>> DivideMissingSamples(const Division& division,
                                                std::span<const Parts> held) {
  ASSIGN_OR_RETURN(Parts gaps, MissingRanges(division, held));
  // Every rank is topped up to an equal share of the batch; those that hold more stay as they are.
  std::vector<Parts> missing(held.size());
  std::vector<int> load;
  for (const Parts& parts : held) load.push_back(SamplesIn(parts));
  std::vector<int> extra(held.size(), 0);
  for (int left = SamplesIn(gaps); left > 0; --left) {
    int rank = LeastLoaded(load);
    ++load[rank];
    ++extra[rank];
  }
  size_t gap = 0;
  for (size_t rank = 0; rank < held.size(); ++rank) {
    while (extra[rank] > 0) {
      Part& open = gaps[gap];
      int take = std::min(extra[rank], open.size());
      missing[rank].push_back({-1, open.begin, open.begin + take});
      open.begin += take;
      extra[rank] -= take;
      if (open.size() == 0) ++gap;
    }
  }
  return missing;
}

}  // namespace

std::vector<Parts> DivideBatch(const Division& division, int ranks) {
  std::vector<Parts> parts(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    auto share = [&](int whole, int r) { return static_cast<int>(int64_t{whole} * r / ranks); };
    if (division.logical_shards > 0) {
      int end = share(division.logical_shards, rank + 1);
      for (int shard = share(division.logical_shards, rank); shard < end; ++shard) {
        parts[rank].push_back(ShardPart(division, shard));
      }
    } else {
      Part part{-1, share(division.batch, rank), share(division.batch, rank + 1)};
      if (part.size() > 0) parts[rank].push_back(part);
    }
  }
  return parts;
}

void DropRepeated(std::vector<Parts>* held) {
  Parts kept;
  for (Parts& parts : *held) {
    const bool is_repeated = std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
      return std::any_of(kept.begin(), kept.end(),
                         [&](const Part& other) { return Overlap(part, other); });
    });
    if (is_repeated) parts.clear();
    kept.insert(kept.end(), parts.begin(), parts.end());
  }
}

Result<std::vector<Parts>> DivideMissing(const Division& division, std::span<const Parts> held) {
  std::vector<bool> seen(division.logical_shards, false);
  for (const Parts& parts : held) {
    for (const Part& part : parts) {
      bool fits = part.begin >= 0 && part.begin <= part.end && part.end <= division.batch;
      if (division.logical_shards > 0) {
        fits = part.shard >= 0 && part.shard < division.logical_shards && !seen[part.shard] &&
               part == ShardPart(division, part.shard);
        if (fits) seen[part.shard] = true;
      }
      if (!fits) return Internal("a held part is not of this division of the batch");
    }
  }
  return division.logical_shards > 0 ? DivideMissingShards(division, held)
                                     : DivideMissingSamples(division, held);
}

std::vector<int> ShardOwners(const Division& division, std::span<const Parts> held) {
  std::vector<int> owners(division.logical_shards, -1);
  for (size_t rank = 0; rank < held.size(); ++rank) {
    for (const Part& part : held[rank]) {
      if (part.shard >= 0) owners[part.shard] = static_cast<int>(rank);
    }
  }
  return owners;
}

std::vector<Parts> OfRanks(std::span<const int> ranks, int size, std::vector<Parts> parts) {
  std::vector<Parts> of_ranks(static_cast<size_t>(size));
  for (size_t i = 0; i < ranks.size(); ++i) of_ranks[ranks[i]] = std::move(parts[i]);
  return of_ranks;
}

std::string EncodeParts(const Parts& parts) {
  ByteWriter writer;
  writer.Put(static_cast<uint32_t>(parts.size()));
  for (const Part& part : parts) {
    writer.Put(part.shard);
    writer.Put(part.begin);
    writer.Put(part.end);
  }
  return std::move(writer).bytes();
}

Result<Parts> DecodeParts(std::string_view bytes) {
  ByteReader reader(bytes);
  Parts parts(reader.GetCount(3 * sizeof(int)));
  for (Part& part : parts) {
    part.shard = reader.Get<int>();
    part.begin = reader.Get<int>();
    part.end = reader.Get<int>();
  }
  if (!reader.AtEnd()) return Internal("a malformed list of parts");
  return parts;
}

}  // namespace closeranks::elastic
