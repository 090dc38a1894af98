// Adam with a learning rate that falls linearly to zero.
#ifndef CLOSERANKS_EXAMPLES_FASHION_MNIST_DECAYING_ADAM_H_
#define CLOSERANKS_EXAMPLES_FASHION_MNIST_DECAYING_ADAM_H_

#include <torch/optim/adam.h>

#include <cstdint>
#include <vector>

namespace closeranks::examples {

// The rate is a function of the updates that Adam's own state has counted, not of the training
// loop: whoever receives that state, or applies a step that it missed, uses the rate that all
// others used.
class DecayingAdam : public torch::optim::Adam {
 public:
  // `steps` updates in all, the first of them with `learning_rate`.
  DecayingAdam(std::vector<at::Tensor> parameters, double learning_rate, int64_t steps);

  at::Tensor step(LossClosure closure = nullptr) override;

 private:
  const double learning_rate_;
  const int64_t steps_;
};

}  // namespace closeranks::examples

#endif  // CLOSERANKS_EXAMPLES_FASHION_MNIST_DECAYING_ADAM_H_
