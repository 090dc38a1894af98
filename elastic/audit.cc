#include "elastic/audit.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "base/hexadecimal.h"
#include "xxhash.h"

namespace closeranks::elastic {
namespace {

// Of how many tensors a message tells.
constexpr size_t kMostNamed = 5;

uint64_t HashOf(const Piece& piece) {
  if (!piece.is_comparable) return 0;
  const std::string kind = piece.name + " " + piece.Kind();
  const uint64_t seed = XXH3_64bits(kind.data(), kind.size());
  return XXH3_64bits_withSeed(piece.bytes.data(), piece.bytes.size(), seed);
}

Result<std::vector<uint64_t>> Gather(Communicator& communicator, std::span<const uint64_t> mine) {
  std::vector<uint64_t> all(mine.size() * static_cast<size_t>(communicator.size()));
  RETURN_IF_ERROR(
      communicator.AllGather(mine.data(), all.data(), mine.size(), DataType::kInt64).Wait());
  return all;
}

bool IsLeftOut(const LeftOut& left_out, size_t rank) { return !left_out.empty() && left_out[rank]; }

// `hashes` are by rank and then by piece.
std::string WhatDiffers(const std::vector<Piece>& pieces, const std::vector<uint64_t>& hashes,
                        const LeftOut& left_out) {
  std::string text;
  size_t count = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    std::vector<uint64_t> hash_of_rank;
    for (size_t at = i; at < hashes.size(); at += pieces.size()) hash_of_rank.push_back(hashes[at]);
    const std::string who = WhoHasWhat(hash_of_rank, left_out);
    if (who.empty() || ++count > kMostNamed) continue;
    text += (text.empty() ? "" : "; ") + pieces[i].name + " (" + pieces[i].Kind() + "): " + who;
  }
  if (count > kMostNamed) text += "; and " + std::to_string(count - kMostNamed) + " more";
  return text;
}

Result<std::string> FindDifference(Communicator& communicator, const std::vector<Piece>& pieces,
                                   std::vector<uint64_t> mine, const LeftOut& left_out) {
  const std::array<uint64_t, 1> count = {pieces.size()};
  ASSIGN_OR_RETURN(std::vector<uint64_t> counts, Gather(communicator, count));
  for (size_t rank = counts.size(); rank-- > 0;) {
    if (IsLeftOut(left_out, rank)) counts.erase(counts.begin() + static_cast<ptrdiff_t>(rank));
  }
  if (std::any_of(counts.begin(), counts.end(), [&](uint64_t c) { return c != counts[0]; })) {
    std::string text = "the ranks have different numbers of tensors:";
    for (uint64_t c : counts) text += " " + std::to_string(c);
    return text;
  }
  mine.resize(counts[0]);  // of who is left out: nobody reads them
  ASSIGN_OR_RETURN(const std::vector<uint64_t> all, Gather(communicator, mine));
  if (pieces.size() != counts[0]) return Internal("it has no names for what differs");
  return WhatDiffers(pieces, all, left_out);
}

}  // namespace

std::string WhoHasWhat(std::span<const uint64_t> hash_of_rank, const LeftOut& left_out) {
  std::map<uint64_t, std::string> ranks;
  for (size_t rank = 0; rank < hash_of_rank.size(); ++rank) {
    if (IsLeftOut(left_out, rank)) continue;
    std::string& list = ranks[hash_of_rank[rank]];
    list += (list.empty() ? "" : ",") + std::to_string(rank);
  }
  std::string text;
  if (ranks.size() <= 1) return text;
  for (const auto& [hash, list] : ranks) {
    text += (text.empty() ? "" : ", ") + std::string("rank ") + list + " has " + Hexadecimal(hash);
  }
  return text;
}

Status Audit(Communicator& communicator, StateOwner& state, const LeftOut& left_out) {
  const std::vector<Piece> pieces = state.Pieces();
  std::vector<uint64_t> mine;
  for (const Piece& piece : pieces) mine.push_back(HashOf(piece));
  const std::array<uint64_t, 1> whole = {XXH3_64bits(mine.data(), mine.size() * sizeof(uint64_t))};
  ASSIGN_OR_RETURN(const std::vector<uint64_t> wholes, Gather(communicator, whole));
  const std::string who = WhoHasWhat(wholes, left_out);
  if (who.empty()) return OkStatus();
  auto difference = FindDifference(communicator, pieces, std::move(mine), left_out);
  // Nobody leaves before the others know it too. Whatever comes of the barrier, the ranks differ.
  (void)communicator.Barrier().Wait();
  return Mismatch("the ranks' state differs: " + (difference.ok() ? *difference : who) +
                  "; look for what changes it on some ranks only, and register all that defines "
                  "the run");
}

}  // namespace closeranks::elastic
