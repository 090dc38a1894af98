// What an optimizer of libtorch keeps from step to step, as pieces of a run's state.
#ifndef CLOSERANKS_CLOSERANKS_OPTIMIZER_STATE_H_
#define CLOSERANKS_CLOSERANKS_OPTIMIZER_STATE_H_

#include <torch/optim/optimizer.h>

#include <string>
#include <utility>
#include <vector>

#include "elastic/state.h"

namespace closeranks {

// Of Adam, AdamW, SGD, RMSprop and Adagrad, and what derives from them, the state of each parameter
// by name: "fc1.weight.exp_avg", "fc1.weight.step"; and the options of each group (a learning rate
// that was changed, say) as they are serialised: "group1.options". Of any other optimizer
// everything is one opaque piece, "archive". What a class of one's own keeps beside that isn't in
// it, unless it is registered.
class OptimizerState final : public elastic::StateOwner {
 public:
  // `parameters` by name; those of the optimizer that aren't among them are called after their
  // place
  // ("group1.2"). The optimizer outlives this.
  OptimizerState(torch::optim::Optimizer& optimizer,
                 const std::vector<std::pair<std::string, at::Tensor>>& parameters);

  std::vector<elastic::Piece> Pieces() override;
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override;

 private:
  struct Parameter {
    std::string name;
    at::Tensor tensor;
  };
  Result<std::function<void()>> PrepareArchive(std::span<const elastic::Piece> pieces);

  torch::optim::Optimizer& optimizer_;
  std::vector<Parameter> parameters_;  // in the optimizer's order
  std::vector<std::string> opaque_;    // what Pieces() last pointed to
};

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_OPTIMIZER_STATE_H_
