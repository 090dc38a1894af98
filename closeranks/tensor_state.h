// libtorch's tensors as pieces of a run's state.
#ifndef CLOSERANKS_CLOSERANKS_TENSOR_STATE_H_
#define CLOSERANKS_CLOSERANKS_TENSOR_STATE_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "elastic/state.h"

namespace closeranks {

// A piece that points into the tensor, which must be contiguous and in the CPU's memory. Throws
// Error for a dtype that safetensors doesn't have (complex, quantized).
elastic::Piece TensorPiece(std::string name, const at::Tensor& tensor);

// A tensor of its own with the piece's bytes.
at::Tensor MakeTensor(const elastic::Piece& piece);

// Tensors that stay where they are and keep their shapes: a model's parameters.
class TensorState final : public elastic::StateOwner {
 public:
  explicit TensorState(std::vector<std::pair<std::string, at::Tensor>> tensors)
      : tensors_(std::move(tensors)) {}

  std::vector<elastic::Piece> Pieces() override;
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override;

 private:
  std::vector<std::pair<std::string, at::Tensor>> tensors_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_TENSOR_STATE_H_
