#include "elastic/state.h"

#include <algorithm>
#include <array>
#include <limits>

#include "xxhash.h"

namespace closeranks::elastic {
namespace {

struct TypeRow {
  std::string_view name;
  size_t bytes;
};

// By ElementType.
constexpr std::array<TypeRow, 15> kTypes = {{{"BOOL", 1},
                                             {"U8", 1},
                                             {"I8", 1},
                                             {"F8_E4M3", 1},
                                             {"F8_E5M2", 1},
                                             {"I16", 2},
                                             {"U16", 2},
                                             {"F16", 2},
                                             {"BF16", 2},
                                             {"I32", 4},
                                             {"U32", 4},
                                             {"F32", 4},
                                             {"I64", 8},
                                             {"U64", 8},
                                             {"F64", 8}}};

}  // namespace

std::string_view ElementTypeName(ElementType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

std::optional<ElementType> FindElementType(std::string_view name) {
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<ElementType>(i);
  }
  return std::nullopt;
}

size_t ElementBytes(ElementType type) { return kTypes[static_cast<size_t>(type)].bytes; }

std::optional<uint64_t> TensorBytes(ElementType type, std::span<const int64_t> shape) {
  int64_t bytes = static_cast<int64_t>(ElementBytes(type));
  for (int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return static_cast<uint64_t>(bytes);
}

std::string Piece::Kind() const {
  std::string text(ElementTypeName(type));
  text += " [";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

Piece OpaquePiece(std::string name, std::string_view bytes) {
  return {std::move(name), ElementType::kUint8, {static_cast<int64_t>(bytes.size())}, bytes};
}

uint64_t ChecksumOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Status CheckArrived(std::string_view state, uint64_t checksum) {
  if (ChecksumOf(state) == checksum) return OkStatus();
  return Internal(
      "the state that was received doesn't have its checksum: memory or a network changes bytes");
}

Result<const Piece*> FindPiece(std::span<const Piece> pieces, const Piece& like) {
  for (const Piece& piece : pieces) {
    if (piece.name != like.name) continue;
    const bool fits =
        like.IsOpaque() ? piece.IsOpaque() : piece.type == like.type && piece.shape == like.shape;
    if (fits) return &piece;
    return Mismatch("'" + like.name + "' is " + like.Kind() + " here and " + piece.Kind() +
                    " in the state to load");
  }
  return Mismatch("'" + like.name + "' isn't in the state to load");
}

void RunState::Add(std::string prefix, StateOwner& owner) {
  owners_.emplace_back(std::move(prefix), &owner);
  // The empty prefix fits all names, so it is looked at last.
  std::sort(owners_.begin(), owners_.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
}

std::vector<Piece> RunState::Pieces() {
  std::vector<Piece> all;
  for (const auto& [prefix, owner] : owners_) {
    for (Piece& piece : owner->Pieces()) {
      piece.name.insert(0, prefix);
      all.push_back(std::move(piece));
    }
  }
  return all;
}

Result<std::function<void()>> RunState::PrepareLoad(std::span<const Piece> pieces) {
  std::vector<std::vector<Piece>> of_owner(owners_.size());
  for (const Piece& piece : pieces) {
    auto owner = std::find_if(owners_.begin(), owners_.end(), [&](const auto& candidate) {
      return piece.name.starts_with(candidate.first);
    });
    if (owner == owners_.end()) {
      return Mismatch("the state to load has '" + piece.name + "', which nobody here owns");
    }
    Piece own = piece;
    own.name.erase(0, owner->first.size());
    of_owner[static_cast<size_t>(owner - owners_.begin())].push_back(std::move(own));
  }
  std::vector<std::function<void()>> take_over;
  for (size_t i = 0; i < owners_.size(); ++i) {
    auto prepared = owners_[i].second->PrepareLoad(of_owner[i]);
    if (!prepared.ok()) {
      const std::string& prefix = owners_[i].first;
      return prefix.empty() ? prepared.status() : prepared.status().WithContext(prefix);
    }
    take_over.push_back(*std::move(prepared));
  }
  return std::function<void()>([take_over = std::move(take_over), of_owner = std::move(of_owner)] {
    for (const std::function<void()>& take : take_over) take();
  });
}

}  // namespace closeranks::elastic
