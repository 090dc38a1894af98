#include "examples/fashion_mnist/network.h"

#include <ATen/ops/gelu.h>
#include <torch/nn/functional/loss.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace closeranks::examples {
namespace {

constexpr int kChannels1 = 16, kChannels2 = 32;
constexpr int kFeatures = kChannels2 * 7 * 7;  // two strides of 2 make 28 x 28 to 7 x 7
constexpr int kHidden = 256;
constexpr int kClasses = 10;

}  // namespace

// One group makes it a layer norm: unlike batch norm it needs no other sample and no statistics.
Network::Network()
    : conv1_(torch::nn::Conv2dOptions(1, kChannels1, 5).stride(2).padding(2)),
      conv2_(torch::nn::Conv2dOptions(kChannels1, kChannels2, 3).stride(2).padding(1)),
      norm1_(torch::nn::GroupNormOptions(1, kChannels1)),
      norm2_(torch::nn::GroupNormOptions(1, kChannels2)),
      hidden_(kFeatures, kHidden),
      output_(kHidden, kClasses) {
  register_module("conv1", conv1_);
  register_module("norm1", norm1_);
  register_module("conv2", conv2_);
  register_module("norm2", norm2_);
  register_module("hidden", hidden_);
  register_module("output", output_);
}

at::Tensor Network::forward(at::Tensor images) {
  at::Tensor x = at::gelu(norm1_(conv1_(images)));
  x = at::gelu(norm2_(conv2_(x)));
  x = at::gelu(hidden_(x.flatten(1)));
  return output_(x);
}

at::Tensor MeanLoss(Network& network, const Batch& batch) {
  return torch::nn::functional::cross_entropy(network.forward(batch.images), batch.labels);
}

double Accuracy(Network& network, const Dataset& data) {
  constexpr int64_t kBatch = 500;  // few enough to stay in the cache
  at::NoGradGuard no_grad;
  std::vector<int64_t> ids(data.size());
  std::iota(ids.begin(), ids.end(), int64_t{0});
  int64_t right = 0;
  for (int64_t begin = 0; begin < data.size(); begin += kBatch) {
    const int64_t count = std::min(kBatch, data.size() - begin);
    const Batch batch = data.Get(std::span(ids).subspan(begin, count));
    right += network.forward(batch.images).argmax(1).eq(batch.labels).sum().item<int64_t>();
  }
  return static_cast<double>(right) / static_cast<double>(data.size());
}

}  // namespace closeranks::examples
