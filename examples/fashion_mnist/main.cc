// Trains a small network on Fashion-MNIST, on however many processes the job has at the moment.
#include <torch/optim/adam.h>
#include <torch/utils.h>

#include <cmath>

#include "closeranks/closeranks.h"
#include "examples/fashion_mnist/dataset.h"
#include "examples/fashion_mnist/network.h"
#include "gflags/gflags.h"

using closeranks::examples::Dataset;
using closeranks::examples::Network;

DEFINE_string(data, Dataset::kDebianFolder, "folder with Fashion-MNIST's four .gz files");
DEFINE_int32(epochs, 3, "how often each sample is trained on");
DEFINE_int32(batch, 256, "samples in a step, over all processes");
DEFINE_double(learning_rate, 0.003, "of Adam at the first step; falls linearly to zero");

namespace {

bool IsPositive(const char* /*flag*/, int32_t value) { return value > 0; }
DEFINE_validator(epochs, &IsPositive);
DEFINE_validator(batch, &IsPositive);
bool IsRate(const char* /*flag*/, double value) { return value > 0 && std::isfinite(value); }
DEFINE_validator(learning_rate, &IsRate);

Dataset Load(Dataset::Split split) {
  auto data = Dataset::Load(FLAGS_data, split);
  if (!data.ok()) throw closeranks::Error(data.status(), closeranks::ExitCode::kUsage);
  return *std::move(data);
}

void Train(closeranks::Job& job) {
  const Dataset data = Load(Dataset::Split::kTrain), test = Load(Dataset::Split::kTest);
  torch::manual_seed(job.options().seed);
  Network net;
  const int64_t steps = (data.size() + FLAGS_batch - 1) / FLAGS_batch * FLAGS_epochs;
  torch::optim::Adam optimizer(net.parameters(), FLAGS_learning_rate);

  closeranks::Training training(job, net, optimizer);
  training.OnUpdate([&](closeranks::StepNumber step) {
    const double left = 1.0 - static_cast<double>(step) / static_cast<double>(steps);
    optimizer.param_groups()[0].options().set_lr(FLAGS_learning_rate * left);
  });
  for (closeranks::Step& step :
       training.Steps({.samples = data.size(), .batch = FLAGS_batch, .epochs = FLAGS_epochs})) {
    for (closeranks::Shard& shard : step) {
      shard.Backward(MeanLoss(net, data.Get(shard.samples())));
    }
    step.Commit();
  }
  if (job.IsFirst()) job.Report("test_accuracy", Accuracy(net, test));
}

}  // namespace

int main(int argc, char** argv) { return closeranks::Run(argc, argv, Train); }
