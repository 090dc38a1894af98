// A small convolutional network for pictures of 28 x 28.
#ifndef CLOSERANKS_EXAMPLES_FASHION_MNIST_NETWORK_H_
#define CLOSERANKS_EXAMPLES_FASHION_MNIST_NETWORK_H_

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "examples/fashion_mnist/dataset.h"

namespace closeranks::examples {

// Two convolutions with stride 2 and two linear layers, 409,386 parameters and no buffers: what a
// sample's output is depends on that sample alone. With Adam it gets 90.7 % of the test set right
// after 3 epochs at a batch of 256, for some 6 seconds of one CPU an epoch.
class Network : public torch::nn::Module {
 public:
  // Draws the initial parameters from torch's default generator.
  Network();

  // n x 1 x 28 x 28 to n x 10 (the logits of the classes).
  at::Tensor forward(at::Tensor images);

 private:
  torch::nn::Conv2d conv1_, conv2_;
  torch::nn::GroupNorm norm1_, norm2_;
  torch::nn::Linear hidden_, output_;
};

// The mean cross entropy over the batch.
at::Tensor MeanLoss(Network& network, const Batch& batch);

// The share of the data set that the network gets right, from 0 to 1.
double Accuracy(Network& network, const Dataset& data);

}  // namespace closeranks::examples

#endif  // CLOSERANKS_EXAMPLES_FASHION_MNIST_NETWORK_H_
