// One optimizer's state, taken over by another, makes the same updates from then on.
#include "closeranks/optimizer_state.h"

#include <torch/nn/modules/linear.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>
#include <torch/utils.h>

#include <functional>
#include <set>

#include "closeranks/tensor_state.h"
#include "gtest/gtest.h"

namespace closeranks {
namespace {

using elastic::Piece;
using Make = std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<at::Tensor>)>;

// Each of its updates is smaller than the one before.
class Slowing final : public torch::optim::Optimizer {
 public:
  explicit Slowing(std::vector<at::Tensor> parameters)
      : Optimizer(std::move(parameters),
                  std::make_unique<torch::optim::SGDOptions>(torch::optim::SGDOptions(1))) {}
  at::Tensor step(LossClosure closure) override {
    at::Tensor loss = closure();
    torch::NoGradGuard guard;
    updates_ += 1;
    for (const at::Tensor& parameter : param_groups()[0].params()) {
      parameter.sub_(parameter.grad() * param_groups()[0].options().get_lr() / updates_);
    }
    return loss;
  }
  void save(torch::serialize::OutputArchive& archive) const override {
    archive.write("updates", updates_);
    archive.write("lr", at::IValue(param_groups()[0].options().get_lr()));
  }
  void load(torch::serialize::InputArchive& archive) override {
    archive.read("updates", updates_);
    at::IValue lr;
    archive.read("lr", lr);
    param_groups()[0].options().set_lr(lr.toDouble());
  }

 private:
  at::Tensor updates_ = torch::zeros({}, torch::kDouble);
};

// A model, its optimizer and the state of both.
struct Side {
  Side(const Make& make, int64_t seed)
      : model((torch::manual_seed(seed), torch::nn::Linear(3, 2))) {
    optimizer = make(model->parameters());
    std::vector<std::pair<std::string, at::Tensor>> named = {{"weight", model->weight},
                                                             {"bias", model->bias}};
    weights = std::make_unique<TensorState>(named);
    updates = std::make_unique<OptimizerState>(*optimizer, named);
    state.Add("model.", *weights);
    state.Add("optimizer.", *updates);
  }
  void Update(int64_t seed) {
    torch::manual_seed(seed);
    at::Tensor input = torch::randn({4, 3});
    optimizer->step([&] {
      optimizer->zero_grad();
      at::Tensor loss = model->forward(input).square().mean();
      loss.backward();
      return loss;
    });
  }
  Status Load(std::span<const Piece> pieces) {
    auto take_over = state.PrepareLoad(pieces);
    if (take_over.ok()) (*take_over)();
    return take_over.status();
  }
  std::set<std::string> Names() {
    std::set<std::string> names;
    for (const Piece& piece : state.Pieces()) names.insert(piece.name);
    return names;
  }

  torch::nn::Linear model;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  std::unique_ptr<TensorState> weights;
  std::unique_ptr<OptimizerState> updates;
  elastic::RunState state;
};

template <typename Optimizer, typename Options>
Make With(Options options) {
  return [options](std::vector<at::Tensor> parameters) {
    return std::make_unique<Optimizer>(std::move(parameters), options);
  };
}

const std::vector<std::pair<const char*, Make>>& Optimizers() {
  using namespace torch::optim;  // NOLINT
  static const auto* const all = new std::vector<std::pair<const char*, Make>>{
      {"Adam", With<Adam>(AdamOptions(0.1))},
      {"Adam with amsgrad", With<Adam>(AdamOptions(0.1).amsgrad(true))},
      {"AdamW", With<AdamW>(AdamWOptions(0.1))},
      {"SGD", With<SGD>(SGDOptions(0.1))},
      {"SGD with momentum", With<SGD>(SGDOptions(0.1).momentum(0.9))},
      {"RMSprop", With<RMSprop>(RMSpropOptions(0.1).momentum(0.5).centered(true))},
      {"Adagrad", With<Adagrad>(AdagradOptions(0.1))},
      {"one of the user's own",
       [](std::vector<at::Tensor> parameters) {
         return std::make_unique<Slowing>(std::move(parameters));
       }},
  };
  return *all;
}

TEST(OptimizerState, WhoTakesItOverMakesTheSameUpdates) {
  for (const auto& [name, make] : Optimizers()) {
    SCOPED_TRACE(name);
    for (int before : {0, 3}) {
      Side one(make, 1), other(make, 2);
      for (int i = 0; i < before; ++i) one.Update(i);
      other.Update(50);
      one.optimizer->param_groups()[0].options().set_lr(0.05);
      Status loaded = other.Load(one.state.Pieces());
      ASSERT_TRUE(loaded.ok()) << loaded;
      EXPECT_EQ(other.Names(), one.Names());
      for (int i = 10; i < 13; ++i) {
        one.Update(i);
        other.Update(i);
      }
      EXPECT_TRUE(torch::equal(one.model->weight, other.model->weight));
      EXPECT_TRUE(torch::equal(one.model->bias, other.model->bias));
    }
  }
}

TEST(OptimizerState, ItsTensorsHaveNamesThatPeopleKnow) {
  Side side(Optimizers()[0].second, 1);
  side.Update(1);
  EXPECT_EQ(side.Names(),
            (std::set<std::string>{"model.bias", "model.weight", "optimizer.bias.exp_avg",
                                   "optimizer.bias.exp_avg_sq", "optimizer.bias.step",
                                   "optimizer.group1.options", "optimizer.weight.exp_avg",
                                   "optimizer.weight.exp_avg_sq", "optimizer.weight.step"}));
}

TEST(OptimizerState, WhatDoesntFitChangesNothingAndIsNamed) {
  Side adam(Optimizers()[0].second, 1), sgd(Optimizers()[4].second, 2);
  adam.Update(1);
  sgd.Update(1);
  const at::Tensor before = sgd.model->weight.clone();
  Status refused = sgd.Load(adam.state.Pieces());
  EXPECT_EQ(refused.code(), StatusCode::kMismatch) << refused;
  EXPECT_TRUE(torch::equal(sgd.model->weight, before));

  std::vector<Piece> pieces = adam.state.Pieces();
  for (Piece& piece : pieces) {
    if (piece.name == "model.weight") piece.shape = {3, 2};
  }
  refused = adam.Load(pieces);
  EXPECT_NE(refused.message().find("'weight' is F32 [2, 3] here and F32 [3, 2]"), std::string::npos)
      << refused;
  pieces = adam.state.Pieces();
  std::erase_if(pieces, [](const Piece& piece) { return piece.name == "model.bias"; });
  EXPECT_NE(adam.Load(pieces).message().find("'bias' isn't in"), std::string::npos);
  pieces = adam.state.Pieces();
  pieces.push_back(elastic::OpaquePiece("user.x", "1"));
  EXPECT_NE(adam.Load(pieces).message().find("'user.x', which nobody here owns"),
            std::string::npos);
}

}  // namespace
}  // namespace closeranks
