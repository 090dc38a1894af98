// The safetensors format: 8 bytes with the header's length (little-endian), the header (JSON: for
// each tensor its dtype, shape and place in the data; "__metadata__", texts by name), the data.
#ifndef CLOSERANKS_ELASTIC_CHECKPOINT_SAFETENSORS_H_
#define CLOSERANKS_ELASTIC_CHECKPOINT_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "elastic/state.h"

namespace closeranks::elastic {

// The longest header that the format allows.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;
// The header's length stands in so many bytes before it.
inline constexpr size_t kSafetensorsPrefix = 8;

using Metadata = std::map<std::string, std::string>;

struct Safetensors {
  std::vector<Piece> pieces;  // in the order of their data
  Metadata metadata;
};

// Everything before the data of `pieces`, which follows in their order without gaps. Names must be
// unique, and none "__metadata__".
std::string SafetensorsHead(std::span<const Piece> pieces, const Metadata& metadata);
// A whole file.
std::string EncodeSafetensors(std::span<const Piece> pieces, const Metadata& metadata);

// From the first 8 bytes: how many there are before the data, these 8 included. kInvalidArgument
// when they can't be the beginning of such a file.
Result<uint64_t> SafetensorsHeadBytes(std::string_view prefix);
// Survives any bytes. Their pieces point into `bytes`. kInvalidArgument says what is wrong: with
// lengths, offsets that leave gaps, overlap or don't fit dtype and shape, names that come twice.
Result<Safetensors> DecodeSafetensors(std::string_view bytes);
// The same from the head alone: the pieces have no bytes, and that the data is as long isn't seen.
Result<Safetensors> DecodeSafetensorsHead(std::string_view head);

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CHECKPOINT_SAFETENSORS_H_
