#include "closeranks/training.h"

#include <ATen/core/Tensor.h>

#include <ctime>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "closeranks/checkpoint_signal.h"
#include "closeranks/error.h"
#include "closeranks/job.h"
#include "closeranks/model_replica.h"
#include "closeranks/optimizer_settings.h"
#include "closeranks/training_observer.h"
#include "ddp/sample_order.h"
#include "elastic/checkpoint/checkpointer.h"
#include "elastic/ledger.h"
#include "elastic/step_loop.h"
#include "elastic/worker.h"
#include "net/background.h"
#include "telemetry/records.h"

namespace closeranks {
namespace {

SystemFiles& NeverDestroyedFiles() {
  static SystemFiles& files = *new SystemFiles;
  return files;
}

class PlannedBatches final : public elastic::BatchSource {
 public:
  PlannedBatches(uint64_t seed, const Plan& plan)
      : order_(seed, plan.samples, plan.batch), epochs_(plan.epochs) {}

  Batch Get(StepNumber step) override {
    ddp::SampleOrder::BatchIds batch = order_.Batch(step);
    return {static_cast<int>(batch.epoch), batch.ids};
  }
  StepNumber steps() const override {
    return static_cast<StepNumber>(order_.StepsPerEpoch()) * static_cast<StepNumber>(epochs_);
  }

 private:
  ddp::SampleOrder order_;
  int epochs_;
};

// Two that choose differently don't find each other on the same connection.
std::string TransportName(TransportChoice choice) {
  switch (choice) {
    case TransportChoice::kTcp:
      return "tcp";
    case TransportChoice::kShm:
      return "shm";
    case TransportChoice::kAuto:
      break;
  }
  return "auto";
}

void CheckPlan(const Plan& plan) {
  if (plan.samples < 1 || plan.batch < 1 || plan.epochs < 1) {
    throw Error(InvalidArgument(
        "a plan needs at least one sample, a batch of one and one epoch; "
        "this one has " +
        std::to_string(plan.samples) + " samples, a batch of " + std::to_string(plan.batch) +
        " and " + std::to_string(plan.epochs) + " epochs"));
  }
  if (plan.samples > elastic::StepSamples::kMostSamples) {
    throw Error(InvalidArgument("a plan of " + std::to_string(plan.samples) +
                                " samples, expected at most " +
                                std::to_string(elastic::StepSamples::kMostSamples)));
  }
}

}  // namespace

class Training::Impl {
 public:
  Impl(Job& job, torch::nn::Module& model, torch::optim::Optimizer& optimizer)
      : job_(job),
        replica_(model, optimizer, job.options().seed, job.options().logical_shards),
        optimizer_settings_(OptimizerSettings(optimizer)),
        step_(nullptr) {}

  void Begin(Training* training, const Plan& plan) {
    if (loop_.has_value()) throw Error(InvalidArgument("Steps may be called once"));
    CheckPlan(plan);
    step_ = Step(training);
    batches_.emplace(job_.options().seed, plan);
    WriteStart(plan);
    elastic::Worker& worker = job_.worker();
    observer_.emplace(job_, batches_->steps());
    elastic::StepLoop::Options options;
    options.logical_shards = job_.options().logical_shards;
    options.report_failure = [&worker](Generation generation, const Status& why) {
      worker.ReportFailure(generation, why);
    };
    options.flight = &worker.flight();
    options.report_done = [&worker](rendezvous::WorkerState) { worker.ReportDone(); };
    options.owners = owners_;
    options.checkpointer = MakeCheckpointer(plan);
    options.report_entered = [&worker](Generation generation) { worker.ReportEntered(generation); };
    options.leaves = [&worker] { return worker.leaves(); };
    options.report_leaving = [&worker] { worker.ReportLeaving(); };
    options.audit_every = job_.options().audit_every;
    options.report_slow = [this](StepNumber step, double factor) {
      observer_->OnSlow(step, factor);
    };
    loop_.emplace(worker.gate(), replica_, *batches_, OpenLedger(), *observer_, job_.clock(),
                  std::move(options));
    ThrowIfError(worker.Join(Configuration(plan)));
  }

  // True when there is a step to compute; at the end of the run everyone has come to it.
  bool Next() {
    if (ValueOrThrow(loop_->NextStep())) return true;
    Status finished = loop_->Finish();
    // What follows the loop in the program is for those who hold the trained model.
    if (finished.code() == StatusCode::kAborted) throw Error(finished, ExitCode::kOk);
    // The report is to show that the weights differ.
    if (finished.ok() || finished.code() == StatusCode::kMismatch) WriteEnd();
    ThrowIfError(finished);
    return false;
  }

  void Register(std::string_view name, elastic::StateOwner& owner) {
    if (loop_.has_value()) throw Error(InvalidArgument("Register comes before Steps"));
    std::string prefix = "user." + std::string(name) + ".";
    for (const auto& [other, registered] : owners_) {
      if (other.starts_with(prefix) || prefix.starts_with(other)) {
        throw Error(InvalidArgument("'" + std::string(name) + "' and '" + other +
                                    "' can't both be registered"));
      }
    }
    owners_.emplace_back(std::move(prefix), &owner);
  }

  void OnUpdate(std::function<void(StepNumber)> on_update) {
    if (loop_.has_value()) throw Error(InvalidArgument("OnUpdate comes before Steps"));
    replica_.SetOnUpdate(std::move(on_update));
  }

  elastic::StepLoop& loop() { return *loop_; }
  Step& step() { return step_; }

 private:
  elastic::Ledger OpenLedger() {
    if (job_.options().report_folder.empty()) return {};
    return ValueOrThrow(elastic::Ledger::Open(
        files_, telemetry::LedgerPath(job_.options().report_folder, job_.worker().process())));
  }

  // Null without a folder.
  elastic::Checkpointer* MakeCheckpointer(const Plan& plan) {
    const JobOptions& options = job_.options();
    if (options.checkpoint_folder.empty()) return nullptr;
    HandleCheckpointSignal();
    background_ = std::make_unique<net::BackgroundThread>(job_.clock(), "checkpoint",
                                                          options.checkpoint_timeout);
    elastic::Checkpointer::Options checkpoints;
    checkpoints.every = options.checkpoint_every;
    checkpoints.keep = options.keep_checkpoints;
    checkpoints.timeout = options.checkpoint_timeout;
    checkpoints.resume = options.resume;
    // What the meaning of a step and of its samples rests on.
    checkpoints.run = "samples=" + std::to_string(plan.samples) +
                      " batch=" + std::to_string(plan.batch) +
                      " logical_shards=" + std::to_string(options.logical_shards) +
                      " seed=" + std::to_string(options.seed);
    checkpoints.asked = TakeCheckpointSignal;
    checkpoints.seconds_since_1970 = [] { return static_cast<int64_t>(std::time(nullptr)); };
    checkpointer_.emplace(elastic::CheckpointStore(files_, options.checkpoint_folder), *background_,
                          job_.clock(), std::move(checkpoints));
    return &*checkpointer_;
  }

  std::string CheckpointInterval() const {
    if (job_.options().checkpoint_folder.empty()) return "never";
    return std::to_string(job_.options().checkpoint_every);
  }

  // What must be equal on every rank, as the handshake compares it: words that it can name.
  std::string Configuration(const Plan& plan) const {
    return "samples=" + std::to_string(plan.samples) + " batch=" + std::to_string(plan.batch) +
           " epochs=" + std::to_string(plan.epochs) +
           " logical_shards=" + std::to_string(job_.options().logical_shards) +
           " seed=" + std::to_string(job_.options().seed) +
           " threads=" + std::to_string(job_.options().threads) +
           " transport=" + TransportName(job_.options().transport) +
           " checkpoint_every=" + CheckpointInterval() +
           " audit_every=" + std::to_string(job_.options().audit_every) +
           " parameters=" + replica_.Fingerprint() + " " + optimizer_settings_;
  }

  void WriteStart(const Plan& plan) {
    telemetry::StartEvent start;
    start.member = job_.worker().process().member;
    start.incarnation = job_.worker().process().incarnation.ToString();
    start.mode = job_.options().mode == Mode::kExact ? "exact" : "fast";
    start.epochs = plan.epochs;
    start.batch = plan.batch;
    start.samples = plan.samples;
    start.steps = batches_->steps();
    start.seed = job_.options().seed;
    start.logical_shards = job_.options().logical_shards;
    start.ranks = job_.worker().welcome().starting_members;
    job_.events().Write(ToRecord(start));
  }

  void WriteEnd() {
    telemetry::EndEvent end;
    end.step = batches_->steps();
    end.weights_sha256 = replica_.WeightsSha256();
    end.seconds = observer_->SecondsSinceFirstWorld();
    job_.events().Write(ToRecord(end));
  }

  Job& job_;
  // Never destroyed, as BackgroundThread says.
  SystemFiles& files_ = NeverDestroyedFiles();
  ModelReplica replica_;
  std::string optimizer_settings_;
  Step step_;
  std::optional<PlannedBatches> batches_;
  std::optional<TrainingObserver> observer_;
  std::vector<std::pair<std::string, elastic::StateOwner*>> owners_;
  std::unique_ptr<net::BackgroundThread> background_;
  std::optional<elastic::Checkpointer> checkpointer_;
  std::optional<elastic::StepLoop> loop_;
};

std::span<const int64_t> Shard::samples() const {
  elastic::StepLoop& loop = training_->impl_->loop();
  return loop.SamplesOf(loop.todo()[index_]);
}

void Shard::Backward(const at::Tensor& mean_loss) {
  elastic::StepLoop& loop = training_->impl_->loop();
  double share = static_cast<double>(loop.todo()[index_].size()) / loop.batch();
  loop.BeginPart(index_);
  (mean_loss * share).backward();
  loop.EndPart(index_, mean_loss.item<double>());
}

Step::Iterator& Step::Iterator::operator++() {
  index_ = step_->SkipEmpty(index_ + 1);
  step_->Present(index_);
  return *this;
}

Step::Iterator Step::begin() {
  Iterator first(this, SkipEmpty(0));
  Present(first.index_);
  return first;
}

Step::Iterator Step::end() { return {this, training_->impl_->loop().todo().size()}; }

size_t Step::SkipEmpty(size_t index) {
  elastic::StepLoop& loop = training_->impl_->loop();
  for (; index < loop.todo().size() && loop.todo()[index].size() == 0; ++index) {
    loop.BeginPart(index);
    loop.EndPart(index, 0.0);
  }
  return index;
}

void Step::Present(size_t index) {
  shard_.training_ = training_;
  shard_.index_ = index;
  elastic::StepLoop& loop = training_->impl_->loop();
  if (index < loop.todo().size()) loop.PreparePart(index);
}

StepNumber Step::number() const { return training_->impl_->loop().step(); }
int Step::epoch() const { return training_->impl_->loop().epoch(); }
int Step::batch() const { return training_->impl_->loop().batch(); }
bool Step::Commit() { return ValueOrThrow(training_->impl_->loop().Commit()); }

Step& StepRange::Iterator::operator*() const { return training_->impl_->step(); }

StepRange::Iterator& StepRange::Iterator::operator++() {
  at_end_ = !training_->impl_->Next();
  return *this;
}

StepRange::Iterator StepRange::begin() {
  Iterator first;
  first.training_ = training_;
  return ++first;
}

Training::Training(Job& job, torch::nn::Module& model, torch::optim::Optimizer& optimizer)
    : impl_(std::make_unique<Impl>(job, model, optimizer)) {}

Training::~Training() = default;

void Training::Register(std::string_view name, elastic::StateOwner& owner) {
  impl_->Register(name, owner);
}

void Training::OnUpdate(std::function<void(StepNumber step)> on_update) {
  impl_->OnUpdate(std::move(on_update));
}

StepRange Training::Steps(Plan plan) {
  impl_->Begin(this, plan);
  return StepRange(this);
}

}  // namespace closeranks
