// Trains a model with BatchNorm and dropout, and dies at named places of a step.
#include <signal.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/files.h"
#include "closeranks/closeranks.h"
#include "elastic/state.h"
#include "elastic/worker.h"
#include "gflags/gflags.h"
#include "glog/logging.h"

DECLARE_string(report);
DEFINE_string(die, "", "MEMBER:POINT:STEP,...; each once in the run; see At in the source");
DEFINE_int32(await_ranks, 0, "in step 8, as many ranks are waited for");
DEFINE_bool(own_state, false, "registers state of the program's own");

namespace closeranks {
namespace {

constexpr int kFeatures = 6;
constexpr int kHidden = 16;
// So that the state takes some steps to who joins.
constexpr int kBallast = 128 << 10;

// Kills this process where --die says so.
class Phases {
 public:
  // Before a process's first step, how often its member has died is the step, with a minus.
  explicit Phases(MemberId self) : self_(self) {
    const std::string mark = "died." + std::to_string(self) + ":";
    SystemFiles files;
    const auto names = files.List(FLAGS_report);
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>{}) {
      if (name.starts_with(mark)) --step_;
    }
  }

  // Who joins has begun none, however many it makes again.
  void set_step(StepNumber step) { step_ = static_cast<int64_t>(step); }
  void At(const std::string& point) {
    const std::string here = std::to_string(self_) + ":" + point + ":" + std::to_string(step_);
    if (("," + FLAGS_die + ",").find("," + here + ",") == std::string::npos) return;
    SystemFiles files;
    if (files.CreateExclusively(FLAGS_report + "/died." + here, "").ok()) raise(SIGKILL);
  }

 private:
  MemberId self_;
  int64_t step_ = 0;
};

struct Model : torch::nn::Module {
  explicit Model(Phases& phases) : phases(phases) {
    register_module("hidden", hidden);
    register_module("norm", norm);
    register_module("dropout", dropout);
    register_module("output", output);
    register_buffer("ballast", torch::zeros(kBallast));
  }
  at::Tensor Loss(const at::Tensor& samples) {
    at::Tensor x = hidden(samples);
    phases.At("forward");
    x = norm(x);
    phases.At("normalized");
    x = dropout(x.relu());
    phases.At("dropped");
    x.register_hook([this](const at::Tensor&) { phases.At(in_backward); });
    return output(x).square().mean();
  }

  Phases& phases;
  std::string in_backward;
  torch::nn::Linear hidden{kFeatures, kHidden};
  torch::nn::BatchNorm1d norm{kHidden};
  torch::nn::Dropout dropout{0.3};
  torch::nn::Linear output{kHidden, 1};
};

class Optimizer final : public torch::optim::SGD {
 public:
  Optimizer(std::vector<at::Tensor> parameters, Phases& phases)
      : SGD(std::move(parameters), torch::optim::SGDOptions(0.05).momentum(0.9)), phases_(phases) {}
  at::Tensor step(LossClosure closure) override {
    phases_.At("reduced");
    at::Tensor loss = SGD::step(std::move(closure));
    phases_.At("updated");
    return loss;
  }

 private:
  Phases& phases_;
};

// The step that the program has begun last. One that isn't committed comes again.
class OwnState final : public elastic::StateOwner {
 public:
  explicit OwnState(Phases& phases) : phases_(phases) {}

  std::vector<elastic::Piece> Pieces() override {
    phases_.At("copies");
    return {Piece()};
  }
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override {
    phases_.At("receives");
    ASSIGN_OR_RETURN(const elastic::Piece* found, FindPiece(pieces, Piece()));
    return std::function<void()>([this, bytes = found->bytes] {
      phases_.At("loads");
      std::memcpy(&begun_, bytes.data(), sizeof(begun_));
    });
  }
  void Begin(StepNumber step) {
    const auto begins = static_cast<int64_t>(step);
    CHECK(begun_ == begins || begun_ + 1 == begins) << "it is of step " << begun_ << " in " << step;
    begun_ = begins;
  }

 private:
  elastic::Piece Piece() const {
    return {"begun",
            elastic::ElementType::kInt64,
            {},
            {reinterpret_cast<const char*>(&begun_), sizeof(begun_)}};
  }

  Phases& phases_;
  int64_t begun_ = 0;
};

at::Tensor Data(std::span<const int64_t> ids) {
  std::vector<at::Tensor> samples;
  for (int64_t id : ids) {
    samples.push_back(
        torch::arange(kFeatures, torch::kFloat).add(static_cast<double>(id)).mul(0.7).sin());
  }
  return torch::stack(samples);
}

// Blocks until the world that is open has that many ranks.
void AwaitRanks(Job& job, int ranks) {
  auto world = job.worker().gate().Await();
  while (world.ok() && *world != nullptr && (*world)->world.size() < ranks) {
    world = job.worker().gate().AwaitOtherThan((*world)->world.generation);
  }
}

void Train(Job& job) {
  Phases phases(job.worker().process().member);
  phases.At("starts");
  torch::manual_seed(job.options().seed);
  Model model(phases);
  Optimizer optimizer(model.parameters(), phases);
  OwnState own(phases);
  Training training(job, model, optimizer);
  if (FLAGS_own_state) training.Register("own", own);
  training.OnUpdate([&](StepNumber step) {
    const double rate = 0.05 / (1.0 + 0.1 * static_cast<double>(step));
    optimizer.param_groups()[0].options().set_lr(rate);
  });
  phases.At("joins");
  for (Step& step : training.Steps({.samples = 120, .batch = 12, .epochs = 2})) {
    phases.set_step(step.number());
    if (FLAGS_own_state) own.Begin(step.number());
    phases.At("begins");
    if (step.number() == 8) AwaitRanks(job, FLAGS_await_ranks);
    int shards = 0;
    for (Shard& shard : step) {
      // Of three ranks each has two of the six shards.
      const std::string which = ++shards == 2 ? "last " : "";
      model.in_backward = which + "backward";
      phases.At(which + "shard");
      at::Tensor loss = model.Loss(Data(shard.samples()));
      phases.At(which + "computed");
      shard.Backward(loss);
      phases.At(which + "differentiated");
    }
    phases.At("commits");
    step.Commit();
    phases.At("committed");
  }
  phases.At("ends");
}

}  // namespace
}  // namespace closeranks

int main(int argc, char** argv) { return closeranks::Run(argc, argv, closeranks::Train); }
