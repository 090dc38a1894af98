#include "tests/simulation/simulated_worker.h"

#include <chrono>
#include <deque>
#include <utility>

#include "elastic/checkpoint/checkpointer.h"
#include "elastic/ledger.h"
#include "glog/logging.h"
#include "net/background.h"
#include "telemetry/records.h"

namespace closeranks::simulation {
namespace {

constexpr char kFolder[] = "run";
constexpr char kCheckpoints[] = "checkpoints";
// For so long a process may be stopped meanwhile.
constexpr Duration kLongestStop = std::chrono::seconds(4);
// To a peer: data and control, each perhaps in the place of one that is just being found dead.
constexpr size_t kMostSocketsForOne = 2;

}  // namespace

std::string_view PointName(Point point) {
  switch (point) {
    case Point::kStarted:
      return "has started";
    case Point::kJoining:
      return "asks to join";
    case Point::kEnteredWorld:
      return "has entered a world";
    case Point::kBeginsPart:
      return "begins a part";
    case Point::kComputing:
      return "computes";
    case Point::kReduces:
      return "reduces";
    case Point::kApplying:
      return "applies";
    case Point::kCommitted:
      return "has committed";
    case Point::kSavesState:
      return "saves its state";
    case Point::kLoadsState:
      return "loads a state";
    case Point::kTrained:
      return "has applied the last step";
  }
  return "?";
}

class ProcessFiles final : public Files {
 public:
  ProcessFiles(SimulatedFiles& disk, const net::SimulatedProcess& process)
      : disk_(disk), process_(process) {}

  Result<bool> Exists(const std::string& path) override { return disk_.Exists(path); }
  Result<std::string> Read(const std::string& path) override { return disk_.Read(path); }
  Result<std::string> ReadPart(const std::string& path, uint64_t offset, size_t bytes) override {
    return disk_.ReadPart(path, offset, bytes);
  }
  Result<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path) override {
    if (IsDead()) return Gone();
    ASSIGN_OR_RETURN(auto file, disk_.OpenForAppend(path));
    return std::unique_ptr<AppendFile>(std::make_unique<File>(*this, std::move(file)));
  }
  Result<std::unique_ptr<AppendFile>> Create(const std::string& path) override {
    if (IsDead()) return Gone();
    ASSIGN_OR_RETURN(auto file, disk_.Create(path));
    return std::unique_ptr<AppendFile>(std::make_unique<File>(*this, std::move(file)));
  }
  Status Replace(const std::string& path, std::string_view bytes) override {
    return IsDead() ? Gone() : disk_.Replace(path, bytes);
  }
  Status CreateExclusively(const std::string& path, std::string_view bytes) override {
    return IsDead() ? Gone() : disk_.CreateExclusively(path, bytes);
  }
  Status MakeFolder(const std::string& path) override {
    return IsDead() ? Gone() : disk_.MakeFolder(path);
  }
  Status SyncFolder(const std::string& path) override {
    return IsDead() ? Gone() : disk_.SyncFolder(path);
  }
  Result<std::vector<std::string>> List(const std::string& folder) override {
    return disk_.List(folder);
  }
  Result<UniqueFd> Lock(const std::string& path) override { return disk_.Lock(path); }
  Status Remove(const std::string& path) override { return IsDead() ? Gone() : disk_.Remove(path); }
  Status RemoveFolder(const std::string& path) override {
    return IsDead() ? Gone() : disk_.RemoveFolder(path);
  }

 private:
  class File final : public AppendFile {
   public:
    File(const ProcessFiles& files, std::unique_ptr<AppendFile> file)
        : files_(files), file_(std::move(file)) {}
    Status Append(std::string_view bytes) override {
      return files_.IsDead() ? Gone() : file_->Append(bytes);
    }
    Status Sync() override { return files_.IsDead() ? Gone() : file_->Sync(); }

   private:
    const ProcessFiles& files_;
    const std::unique_ptr<AppendFile> file_;
  };

  bool IsDead() const { return process_.state() == net::SimulatedProcess::State::kDead; }
  static Status Gone() { return Unavailable("this process is dead"); }

  SimulatedFiles& disk_;
  const net::SimulatedProcess& process_;
};

class SimulatedBackground final : public net::Background {
 public:
  SimulatedBackground(net::SimulatedProcess& process, Duration slowest)
      : process_(process), slowest_(slowest) {}
  ~SimulatedBackground() override {
    if (process_.state() != net::SimulatedProcess::State::kDead) {
      while (!tasks_.empty()) RunFirst();
    }
    process_.Cancel(timer_);
  }

  void Start(std::function<void()> task) override {
    tasks_.push_back(std::move(task));
    if (timer_ == net::kNoTimer) RunLater();
  }
  bool AwaitIdle() override {
    SimulatedThread::Current()->Sleep(std::min<Duration>(slowest_ / 2, std::chrono::seconds(1)));
    return tasks_.empty();
  }

 private:
  void RunLater() {
    timer_ = process_.RunAfter(process_.world().DrawBetween({}, slowest_), [this] {
      timer_ = net::kNoTimer;
      if (!tasks_.empty()) RunFirst();
      if (!tasks_.empty()) RunLater();
    });
  }
  void RunFirst() {
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }

  net::SimulatedProcess& process_;
  const Duration slowest_;
  std::deque<std::function<void()>> tasks_;
  net::TimerId timer_ = net::kNoTimer;
};

// The toy, taking its time, so that what happens meanwhile can happen.
class SimulatedWorker::Model final : public elastic::ToyReplica {
 public:
  Model(SimulatedWorker& worker)
      : ToyReplica(worker.surroundings_.workload.weights_seed,
                   worker.surroundings_.workload.logical_shards),
        worker_(worker) {}

  double ComputeSlowly(StepNumber step, std::span<const int64_t> samples) {
    Take(worker_.surroundings_.workload.slowest_part);
    worker_.At(Point::kComputing);
    return Compute(step, samples);
  }
  void StartReduction() override {
    worker_.At(Point::kReduces);
    ToyReplica::StartReduction();
  }
  void Apply(StepNumber step) override {
    Take(worker_.surroundings_.workload.slowest_update);
    worker_.At(Point::kApplying);
    ToyReplica::Apply(step);
  }
  std::vector<elastic::Piece> Pieces() override {
    worker_.At(Point::kSavesState);
    return ToyReplica::Pieces();
  }
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override {
    worker_.At(Point::kLoadsState);
    return ToyReplica::PrepareLoad(pieces);
  }

 private:
  void Take(Duration most) {
    SimulatedThread::Current()->Sleep(worker_.process_.world().DrawBetween(Duration::zero(), most));
  }

  SimulatedWorker& worker_;
};

SimulatedWorker::SimulatedWorker(Surroundings surroundings, std::string host, MemberId member,
                                 int start, net::SimulatedNetwork& supervisor,
                                 std::function<void(ExitCode)> on_exit)
    : surroundings_(std::move(surroundings)),
      member_(member),
      name_("worker " + std::to_string(member) + "." + std::to_string(start)),
      process_(surroundings_.fabric.world()),
      network_(surroundings_.fabric, process_, host),
      files_(std::make_unique<ProcessFiles>(surroundings_.disk, process_)),
      platform_(surroundings_.fabric, process_, *files_, host, process_.world().random().Next()),
      thread_(process_, [this, on_exit = std::move(on_exit)] {
        const ExitCode code = Main();
        process_.RunAfter(Duration::zero(), [on_exit, code] { on_exit(code); });
      }) {
  auto [theirs, ours] = supervisor.MakePair(network_);
  agent_end_ = std::move(theirs);
  worker_end_ = std::move(ours);
}

SimulatedWorker::~SimulatedWorker() { Kill(); }

void SimulatedWorker::Kill() {
  if (is_alive()) {
    surroundings_.fabric.Kill(process_);
    if (worker_ != nullptr) worker_->gate().End(Aborted("this process is dead"));
  }
  if (SimulatedThread::Current() == nullptr) {
    thread_.Finish();
  } else {
    // Its own thread runs to its end by itself, another one's not from within this one.
    process_.world().RunAfter(Duration::zero(), [this] { thread_.Finish(); });
  }
}

void SimulatedWorker::At(Point point) {
  if (is_alive()) surroundings_.on_point(*this, point);
}

ExitCode SimulatedWorker::Main() {
  At(Point::kStarted);
  elastic::Worker::Options options;
  options.shared_memory = false;
  options.build = "simulated";
  options.communicator.timeout = surroundings_.workload.operation_limit;
  auto started = elastic::Worker::Start(std::move(worker_end_), std::move(options), platform_);
  if (!started.ok()) return ExitCodeFor(started.status());
  worker_ = started->get();
  model_ = std::make_unique<Model>(*this);
  const Status trained = Train();
  model_.reset();  // it holds on to the last world's communicator
  if (is_alive()) {
    surroundings_.checker.Operated(name_, *telemetry::ReadFlightRecord(worker_->flight().Copy()),
                                   surroundings_.workload.operation_limit + kLongestStop);
  }
  const ExitCode ended = worker_->exit_code();
  worker_ = nullptr;
  started->reset();
  if (trained.ok() || trained.code() == StatusCode::kAborted) return ExitCode::kOk;
  return ended != ExitCode::kOk ? ended : ExitCodeFor(trained);
}

Status SimulatedWorker::Train() {
  const Workload& workload = surroundings_.workload;
  elastic::ToyBatches batches(workload.samples, workload.batch, workload.epochs);
  RETURN_IF_ERROR(files_->MakeFolder(kFolder));
  ASSIGN_OR_RETURN(
      elastic::Ledger ledger,
      elastic::Ledger::Open(*files_, telemetry::LedgerPath(kFolder, worker_->process())));
  elastic::StepLoop::Options options;
  options.logical_shards = workload.logical_shards;
  options.flight = &worker_->flight();
  options.least_chunk_bytes = workload.chunk_bytes;
  options.audit_every = workload.audit_every;
  options.report_failure = [this](Generation generation, const Status& why) {
    worker_->ReportFailure(generation, why);
  };
  options.report_done = [this](rendezvous::WorkerState) {
    At(Point::kTrained);
    worker_->ReportDone();
  };
  options.report_entered = [this](Generation generation) { worker_->ReportEntered(generation); };
  options.leaves = [this] { return worker_->leaves(); };
  options.report_leaving = [this] { worker_->ReportLeaving(); };
  SimulatedBackground background(process_, workload.slowest_write);
  elastic::Checkpointer::Options checkpoints;
  checkpoints.every = workload.checkpoint_every;
  checkpoints.run = "simulated";
  checkpoints.seconds_since_1970 = [this] { return process_.Now().time_since_epoch().count(); };
  elastic::Checkpointer checkpointer(elastic::CheckpointStore(*files_, kCheckpoints), background,
                                     platform_.clock(), std::move(checkpoints));
  if (workload.checkpoint_every > 0) options.checkpointer = &checkpointer;
  elastic::StepLoop loop(worker_->gate(), *model_, batches, std::move(ledger), *this,
                         platform_.clock(), std::move(options));
  At(Point::kJoining);
  RETURN_IF_ERROR(worker_->Join("workload"));
  while (true) {
    ASSIGN_OR_RETURN(bool more, loop.NextStep());
    if (!more) break;
    for (size_t i = 0; i < loop.todo().size(); ++i) {
      At(Point::kBeginsPart);
      loop.BeginPart(i);
      const double loss = model_->ComputeSlowly(loop.step(), loop.SamplesOf(loop.todo()[i]));
      loop.EndPart(i, loss);
    }
    RETURN_IF_ERROR(loop.Commit().status());
  }
  RETURN_IF_ERROR(loop.Finish());
  if (is_alive()) {
    surroundings_.checker.Trained(name_, worker_->process(), model_->WeightsHash());
  }
  return OkStatus();
}

void SimulatedWorker::OnWorld(const elastic::ConnectedWorld& world, const Entry& entry) {
  entered_ = world.decision;
  if (is_alive()) {
    surroundings_.checker.Entered(name_, worker_->process(), *world.decision, entry.resumed_from,
                                  model_->WeightsHash());
  }
  At(Point::kEnteredWorld);
}

void SimulatedWorker::OnCommit(const StepInfo& info) {
  if (is_alive()) {
    surroundings_.checker.Applied(name_, *info.world->decision, info.step, model_->WeightsHash());
    surroundings_.checker.Holds(name_, surroundings_.fabric.OpenSockets(process_),
                                kMostSocketsForOne * (surroundings_.members + 1));
  }
  At(Point::kCommitted);
}

}  // namespace closeranks::simulation
