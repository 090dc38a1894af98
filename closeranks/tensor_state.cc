#include "closeranks/tensor_state.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>

#include "closeranks/error.h"

namespace closeranks {
namespace {

using elastic::ElementType;

constexpr std::array<std::pair<at::ScalarType, ElementType>, 15> kTypes = {
    {{at::kBool, ElementType::kBool},
     {at::kByte, ElementType::kUint8},
     {at::kChar, ElementType::kInt8},
     {at::kFloat8_e4m3fn, ElementType::kFloat8E4M3},
     {at::kFloat8_e5m2, ElementType::kFloat8E5M2},
     {at::kShort, ElementType::kInt16},
     {at::kUInt16, ElementType::kUint16},
     {at::kHalf, ElementType::kFloat16},
     {at::kBFloat16, ElementType::kBFloat16},
     {at::kInt, ElementType::kInt32},
     {at::kUInt32, ElementType::kUint32},
     {at::kFloat, ElementType::kFloat32},
     {at::kLong, ElementType::kInt64},
     {at::kUInt64, ElementType::kUint64},
     {at::kDouble, ElementType::kFloat64}}};

}  // namespace

elastic::Piece TensorPiece(std::string name, const at::Tensor& tensor) {
  for (const auto& [scalar, element] : kTypes) {
    if (scalar != tensor.scalar_type()) continue;
    CHECK(tensor.is_contiguous()) << name;
    std::string_view bytes(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    return {std::move(name), element, tensor.sizes().vec(), bytes};
  }
  throw Error(InvalidArgument("'" + name + "' is of the type " +
                              c10::toString(tensor.scalar_type()) +
                              ", which can't be part of a run's state"));
}

at::Tensor MakeTensor(const elastic::Piece& piece) {
  for (const auto& [scalar, element] : kTypes) {
    if (element != piece.type) continue;
    at::Tensor tensor = at::empty(piece.shape, at::TensorOptions(scalar));
    std::memcpy(tensor.mutable_data_ptr(), piece.bytes.data(), piece.bytes.size());
    return tensor;
  }
  throw Error(Internal("unknown type of " + piece.name));
}

std::vector<elastic::Piece> TensorState::Pieces() {
  std::vector<elastic::Piece> pieces;
  for (const auto& [name, tensor] : tensors_) pieces.push_back(TensorPiece(name, tensor));
  return pieces;
}

Result<std::function<void()>> TensorState::PrepareLoad(std::span<const elastic::Piece> pieces) {
  std::vector<std::string_view> bytes;
  for (const auto& [name, tensor] : tensors_) {
    const elastic::Piece piece = TensorPiece(name, tensor);
    ASSIGN_OR_RETURN(const elastic::Piece* found, FindPiece(pieces, piece));
    if (found->shape != piece.shape) {  // a row of bytes, which could be anybody's own words
      return Mismatch("'" + piece.name + "' is " + piece.Kind() + " here and " + found->Kind() +
                      " in the state to load");
    }
    bytes.push_back(found->bytes);
  }
  if (pieces.size() != tensors_.size()) {
    return Mismatch("the state to load has " + std::to_string(pieces.size()) +
                    " tensors, here are " + std::to_string(tensors_.size()));
  }
  return std::function<void()>([this, bytes = std::move(bytes)] {
    for (size_t i = 0; i < bytes.size(); ++i) {
      std::memcpy(tensors_[i].second.mutable_data_ptr(), bytes[i].data(), bytes[i].size());
    }
  });
}

}  // namespace closeranks
