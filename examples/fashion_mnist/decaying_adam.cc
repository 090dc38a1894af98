#include "examples/fashion_mnist/decaying_adam.h"

#include <algorithm>
#include <utility>

namespace closeranks::examples {

DecayingAdam::DecayingAdam(std::vector<at::Tensor> parameters, double learning_rate, int64_t steps)
    : Adam(std::move(parameters), torch::optim::AdamOptions(learning_rate)),
      learning_rate_(learning_rate),
      steps_(steps) {}

at::Tensor DecayingAdam::step(LossClosure closure) {
  // Every parameter gets a gradient in every step, so all of them count alike.
  const auto state = state_.begin();
  const int64_t done =
      state == state_.end()
          ? 0
          : static_cast<const torch::optim::AdamParamState&>(*state->second).step();
  const double left = static_cast<double>(std::max<int64_t>(steps_ - done, 0));
  for (torch::optim::OptimizerParamGroup& group : param_groups()) {
    group.options().set_lr(learning_rate_ * left / static_cast<double>(steps_));
  }
  return Adam::step(std::move(closure));
}

}  // namespace closeranks::examples
