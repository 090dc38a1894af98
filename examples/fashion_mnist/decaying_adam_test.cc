#include "examples/fashion_mnist/decaying_adam.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <sstream>

#include "gtest/gtest.h"

namespace closeranks::examples {
namespace {

constexpr double kRate = 0.5;
constexpr int kSteps = 10;

struct Worker {
  Worker() : parameter(at::zeros({1}).requires_grad_()), optimizer({parameter}, kRate, kSteps) {
    parameter.mutable_grad() = at::ones({1});
  }
  // With a gradient that is always 1, Adam moves by the learning rate.
  double Step() {
    const double before = parameter.item<double>();
    optimizer.step();
    return before - parameter.item<double>();
  }

  at::Tensor parameter;
  DecayingAdam optimizer;
};

TEST(DecayingAdam, TheRateFallsLinearlyToZero) {
  Worker worker;
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_NEAR(worker.Step(), kRate * (kSteps - step) / kSteps, 1e-4) << "step " << step + 1;
  }
  EXPECT_EQ(worker.Step(), 0);
}

TEST(DecayingAdam, WhoReceivesTheStateGoesOnWithTheSameRate) {
  Worker first, joiner;
  for (int step = 0; step < 3; ++step) first.Step();
  torch::serialize::OutputArchive saved;
  first.optimizer.save(saved);
  std::stringstream stream;
  saved.save_to(stream);
  torch::serialize::InputArchive received;
  received.load_from(stream);
  joiner.optimizer.load(received);
  EXPECT_NEAR(first.Step(), joiner.Step(), 1e-6);
}

}  // namespace
}  // namespace closeranks::examples
