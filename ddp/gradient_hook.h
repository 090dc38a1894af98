// Where autograd tells us that a gradient has grown.
#ifndef CLOSERANKS_DDP_GRADIENT_HOOK_H_
#define CLOSERANKS_DDP_GRADIENT_HOOK_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace torch::autograd {
struct Node;
}

namespace closeranks::ddp {

// Calls `on_gradient(i)` in every backward pass right after autograd is done with parameters[i]
// (also when the pass brought it no gradient), on the thread that autograd runs that parameter on:
// with parameters on several devices, on several threads at once.
//
// The hooks go when this object goes, which must not happen during a backward pass. They hang at
// the gradient accumulators, not at the tensors' one post-accumulate slot, which belongs to
// Python's users.
class GradientHooks {
 public:
  // Every parameter must be a leaf that requires a gradient (throws c10::Error otherwise).
  GradientHooks(std::span<const at::Tensor> parameters, std::function<void(size_t)> on_gradient);
  ~GradientHooks();
  GradientHooks(const GradientHooks&) = delete;
  GradientHooks& operator=(const GradientHooks&) = delete;

 private:
  struct Installed {
    // Tensors refer to their accumulators weakly: without this one it would go after each pass.
    std::shared_ptr<torch::autograd::Node> accumulator;
    uintptr_t key;
  };
  std::vector<Installed> installed_;
};

}  // namespace closeranks::ddp

#endif  // CLOSERANKS_DDP_GRADIENT_HOOK_H_
