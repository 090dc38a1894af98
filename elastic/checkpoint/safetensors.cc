#include "elastic/checkpoint/safetensors.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "nlohmann/json.hpp"

namespace closeranks::elastic {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMetadata[] = "__metadata__";
// A shape's numbers are no deeper. What is isn't kept, so nothing grows with the depth.
constexpr int kMaxDepth = 4;

Status Bad(const std::string& what) { return InvalidArgument("not a safetensors file: " + what); }

// Null where it isn't a JSON object. `twice`: a tensor's name that comes twice.
Json ParseHeader(std::string_view text, std::string& twice) {
  std::set<std::string> names;
  auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1 &&
        !names.insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    return depth <= kMaxDepth;
  };
  Json header = Json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  return header.is_object() ? header : Json();
}

// Non-negative whole numbers.
bool ReadNumbers(const Json& json, std::vector<int64_t>& numbers) {
  if (!json.is_array()) return false;
  for (const Json& number : json) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() > INT64_MAX) return false;
    numbers.push_back(number.get<int64_t>());
  }
  return true;
}

struct Entry {
  Piece piece;
  uint64_t begin = 0;
  uint64_t end = 0;
};

Result<Entry> ReadEntry(const std::string& name, const Json& json) {
  const std::string who = "'" + name + "' ";
  if (!json.is_object()) return Bad(who + "isn't described");
  Entry entry;
  entry.piece.name = name;
  std::vector<int64_t> offsets;
  for (const auto& [key, value] : json.items()) {
    if (key == "dtype") {
      auto type = value.is_string() ? FindElementType(value.get<std::string>()) : std::nullopt;
      if (!type.has_value()) return Bad(who + "has an unknown dtype");
      entry.piece.type = *type;
    } else if (key == "shape") {
      if (!ReadNumbers(value, entry.piece.shape)) return Bad(who + "has a shape that is none");
    } else if (key == "data_offsets") {
      if (!ReadNumbers(value, offsets)) return Bad(who + "has offsets that are none");
    } else {
      return Bad(who + "has an unknown field");
    }
  }
  if (json.size() != 3) return Bad(who + "lacks its dtype, shape or data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1]) return Bad(who + "has no place in the data");
  entry.begin = static_cast<uint64_t>(offsets[0]);
  entry.end = static_cast<uint64_t>(offsets[1]);
  auto bytes = TensorBytes(entry.piece.type, entry.piece.shape);
  if (bytes != entry.end - entry.begin) {
    return Bad(who + "is " + entry.piece.Kind() + " in " + std::to_string(entry.end - entry.begin) +
               " bytes");
  }
  return entry;
}

Result<std::vector<Entry>> ReadEntries(const Json& header, Metadata& metadata) {
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name != kMetadata) {
      ASSIGN_OR_RETURN(Entry entry, ReadEntry(name, json));
      entries.push_back(std::move(entry));
      continue;
    }
    if (!json.is_object()) return Bad("__metadata__ isn't an object");
    for (const auto& [key, text] : json.items()) {
      if (!text.is_string()) return Bad("__metadata__ has something that isn't a text");
      metadata[key] = text.get<std::string>();
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  return entries;
}

}  // namespace

std::string SafetensorsHead(std::span<const Piece> pieces, const Metadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t offset = 0;
  for (const Piece& piece : pieces) {
    const uint64_t end = offset + piece.bytes.size();
    CHECK(TensorBytes(piece.type, piece.shape) == piece.bytes.size()) << piece.name;
    header[piece.name] = {{"dtype", ElementTypeName(piece.type)},
                          {"shape", piece.shape},
                          {"data_offsets", {offset, end}}};
    offset = end;
  }
  CHECK_EQ(header.size(), pieces.size() + (metadata.empty() ? 0 : 1)) << "a name came twice";
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  ByteWriter writer;
  writer.Put(static_cast<uint64_t>(text.size()));
  return std::move(writer).bytes() + text;
}

std::string EncodeSafetensors(std::span<const Piece> pieces, const Metadata& metadata) {
  std::string file = SafetensorsHead(pieces, metadata);
  size_t size = file.size();
  for (const Piece& piece : pieces) size += piece.bytes.size();
  file.reserve(size);
  for (const Piece& piece : pieces) file += piece.bytes;
  return file;
}

Result<uint64_t> SafetensorsHeadBytes(std::string_view prefix) {
  ByteReader reader(prefix.substr(0, kSafetensorsPrefix));
  const auto length = reader.Get<uint64_t>();
  if (reader.failed()) return Bad("it has " + std::to_string(prefix.size()) + " bytes");
  if (length > kMaxSafetensorsHeader) {
    return Bad("its header would have " + std::to_string(length) + " bytes");
  }
  return kSafetensorsPrefix + length;
}

Result<Safetensors> DecodeSafetensorsHead(std::string_view head) {
  ASSIGN_OR_RETURN(const uint64_t head_bytes, SafetensorsHeadBytes(head));
  if (head.size() < head_bytes) return Bad("its header is cut off");
  std::string_view text = head.substr(kSafetensorsPrefix, head_bytes - kSafetensorsPrefix);
  if (!text.starts_with('{')) return Bad("its header doesn't begin with {");
  std::string twice;
  const Json header = ParseHeader(text, twice);
  if (header.is_null()) return Bad("its header isn't a JSON object");
  if (!twice.empty()) return Bad("'" + twice + "' comes twice");
  Safetensors decoded;
  ASSIGN_OR_RETURN(std::vector<Entry> entries, ReadEntries(header, decoded.metadata));
  uint64_t end = 0;
  for (Entry& entry : entries) {
    if (entry.begin != end) {
      return Bad("'" + entry.piece.name + "' begins at " + std::to_string(entry.begin) +
                 ", where the data before it ends at " + std::to_string(end));
    }
    end = entry.end;
    decoded.pieces.push_back(std::move(entry.piece));
  }
  return decoded;
}

Result<Safetensors> DecodeSafetensors(std::string_view bytes) {
  ASSIGN_OR_RETURN(Safetensors decoded, DecodeSafetensorsHead(bytes));
  const std::string_view data = bytes.substr(*SafetensorsHeadBytes(bytes));
  uint64_t end = 0;
  for (Piece& piece : decoded.pieces) {
    const uint64_t begin = end;
    end += *TensorBytes(piece.type, piece.shape);
    if (end <= data.size()) piece.bytes = data.substr(begin, end - begin);
  }
  if (end != data.size()) {
    return Bad("its data has " + std::to_string(data.size()) + " bytes, its tensors " +
               std::to_string(end));
  }
  return decoded;
}

}  // namespace closeranks::elastic
