// The state of a run as named tensors: what checkpoints, the transfer to a joiner and audits have
// in common, whoever owns it.
#ifndef CLOSERANKS_ELASTIC_STATE_H_
#define CLOSERANKS_ELASTIC_STATE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace closeranks::elastic {

// Those of a safetensors file.
enum class ElementType : uint8_t {
  kBool,
  kUint8,
  kInt8,
  kFloat8E4M3,
  kFloat8E5M2,
  kInt16,
  kUint16,
  kFloat16,
  kBFloat16,
  kInt32,
  kUint32,
  kFloat32,
  kInt64,
  kUint64,
  kFloat64,
};

// As safetensors writes them: "F32".
std::string_view ElementTypeName(ElementType type);
std::optional<ElementType> FindElementType(std::string_view name);
size_t ElementBytes(ElementType type);
// None when it doesn't fit 63 bits, or a dimension is negative.
std::optional<uint64_t> TensorBytes(ElementType type, std::span<const int64_t> shape);

// A named tensor, row by row, somewhere else's memory. A row of kUint8 is opaque: its owner's own
// words, whose length may differ between ranks and runs.
struct Piece {
  std::string name;
  ElementType type = ElementType::kUint8;
  std::vector<int64_t> shape;  // empty: one number
  std::string_view bytes;
  // False: ranks that hold the same state may have other bytes (what a library writes addresses
  // into, say), so an audit passes it over.
  bool is_comparable = true;

  bool IsOpaque() const { return type == ElementType::kUint8 && shape.size() == 1; }
  // "F32 [2, 3]"
  std::string Kind() const;
};

Piece OpaquePiece(std::string name, std::string_view bytes);

// Something that defines the run and is kept equal on every rank. Called by the training thread
// only, between steps.
class StateOwner {
 public:
  virtual ~StateOwner() = default;

  // All of it, with names that are unique here and equal on every rank. The bytes are valid until
  // the next step or call.
  virtual std::vector<Piece> Pieces() = 0;
  // Does everything that can fail about taking over what another owner's Pieces() gave, in any
  // order, and changes nothing; what it returns takes it over, and can't fail. `pieces` and their
  // bytes live until that is done. kMismatch when they don't fit.
  virtual Result<std::function<void()>> PrepareLoad(std::span<const Piece> pieces) = 0;
};

// The piece of that name. kMismatch, with both sides, when it isn't there or is of another kind;
// opaque ones may have any length.
Result<const Piece*> FindPiece(std::span<const Piece> pieces, const Piece& like);

// By which who receives a state, or some of it, knows that nothing changed on the way. XXH3.
uint64_t ChecksumOf(std::string_view bytes);
// Of a whole state. kInternal when something has.
Status CheckArrived(std::string_view state, uint64_t checksum);

// Several owners as one. They outlive it.
class RunState final : public StateOwner {
 public:
  // Its pieces are called PREFIX and then their own names. No prefix begins another one but the
  // empty one.
  void Add(std::string prefix, StateOwner& owner);

  std::vector<Piece> Pieces() override;
  Result<std::function<void()>> PrepareLoad(std::span<const Piece> pieces) override;

 private:
  std::vector<std::pair<std::string, StateOwner*>> owners_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_STATE_H_
