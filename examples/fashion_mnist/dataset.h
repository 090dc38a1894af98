// Fashion-MNIST: 28 x 28 grey pictures of ten kinds of clothes, 60,000 to train on and 10,000 to
// test.
#ifndef CLOSERANKS_EXAMPLES_FASHION_MNIST_DATASET_H_
#define CLOSERANKS_EXAMPLES_FASHION_MNIST_DATASET_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace closeranks::examples {

struct Batch {
  at::Tensor images;  // n x 1 x 28 x 28, float32, about mean 0 and variance 1 over the data set
  at::Tensor labels;  // n, int64, 0 to 9
};

// Immutable once loaded: all calls may come from any thread.
class Dataset {
 public:
  enum class Split { kTrain, kTest };

  // Where Debian's package dataset-fashion-mnist puts the files.
  static constexpr char kDebianFolder[] = "/usr/share/datasets/fashion-mnist";

  // Reads the two files of `split`. An error names the file and what to do about it.
  static Result<Dataset> Load(const std::string& folder, Split split);

  int64_t size() const { return static_cast<int64_t>(labels_.size()); }

  // The samples with these ids, each from 0 to size() - 1, in this order.
  Batch Get(std::span<const int64_t> ids) const;

 private:
  Dataset(std::vector<uint8_t> pixels, std::vector<uint8_t> labels);

  std::vector<uint8_t> pixels_;
  std::vector<uint8_t> labels_;
  std::array<float, 256> scale_;  // from a stored pixel to the network's input
};

}  // namespace closeranks::examples

#endif  // CLOSERANKS_EXAMPLES_FASHION_MNIST_DATASET_H_
