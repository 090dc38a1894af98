#include "ddp/gradient_hook.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <utility>

namespace closeranks::ddp {
namespace {

class Hook final : public torch::autograd::FunctionPostHook {
 public:
  Hook(size_t parameter, std::function<void(size_t)> on_gradient)
      : parameter_(parameter), on_gradient_(std::move(on_gradient)) {}

  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    on_gradient_(parameter_);
    return outputs;
  }

 private:
  const size_t parameter_;
  const std::function<void(size_t)> on_gradient_;
};

}  // namespace

GradientHooks::GradientHooks(std::span<const at::Tensor> parameters,
                             std::function<void(size_t)> on_gradient) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    TORCH_CHECK(parameters[i].is_leaf() && parameters[i].requires_grad(), "parameter ", i,
                " is not a leaf that requires a gradient");
    auto accumulator = torch::autograd::impl::grad_accumulator(parameters[i]);
    const uintptr_t key = accumulator->add_post_hook(std::make_unique<Hook>(i, on_gradient));
    installed_.push_back({std::move(accumulator), key});
  }
}

GradientHooks::~GradientHooks() {
  for (const Installed& installed : installed_) {
    installed.accumulator->del_post_hook(installed.key);
  }
}

}  // namespace closeranks::ddp
