// A bare loop of all-reduces: what a recovery costs beside other systems' bare loops, and what the
// elastic machinery costs.
//
//   closeranks run -n 4 --report=FOLDER -- allreduce_loop --report=FOLDER
//   closeranks run -n 2 -- allreduce_loop --steps=1000 --alternate=5
//
// Each step works on memory of its own for as long as --work says, then sums --bytes of float32
// over the ranks. With --alternate=N, after every N steps as many are done without the machinery,
// on the same communicator, and at its end each rank prints what either half took.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/random.h"
#include "closeranks/environment.h"
#include "elastic/event_writer.h"
#include "elastic/replica.h"
#include "elastic/step_loop.h"
#include "elastic/worker.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "net/system_socket.h"
#include "telemetry/event_log.h"
#include "telemetry/log_prefix.h"
#include "telemetry/records.h"

DEFINE_uint64(alternate, 0, "as many steps with the machinery as without, in turns; 0: never");
DEFINE_bool(tcp, false, "no shared memory");
DEFINE_uint64(bytes, 1 << 20, "of an all-reduce");
DEFINE_uint64(steps, 1u << 30, "of the run");
DEFINE_int32(work, 0, "passes over 64 KiB that stand for a step's computation");
DEFINE_string(report, "", "folder for events and ledgers");

namespace closeranks {
namespace {

constexpr int kBatch = 256;  // samples, of which nothing but their numbers exists

// What a step computes and reduces, the same with and without the elastic machinery.
class Step {
 public:
  Step() : own_(FLAGS_bytes / sizeof(float), 1.0f), sum_(own_.size()), scratch_(16384, 1.0f) {}

  // Not inlined: in each loop it would be other code, at another speed.
  [[gnu::noinline]] void Compute() {
    for (int pass = 0; pass < FLAGS_work; ++pass) {
      for (float& x : scratch_) x = x * 0.999f + 0.001f;
    }
    // As a training step would.
    std::fill(own_.begin(), own_.end(), scratch_[0]);
  }
  [[gnu::noinline]] Work Reduce(Communicator& communicator) {
    return communicator.AllReduce(own_.data(), sum_.data(), own_.size(), DataType::kFloat32,
                                  Reduction::kSum);
  }
  std::vector<float>& sum() { return sum_; }

 private:
  std::vector<float> own_, sum_, scratch_;
};

double CpuSeconds() {
  rusage usage;
  PCHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Of the threads of that name of the process in `folder` of /proc, or of all its threads.
double CpuSecondsOf(const std::string& folder, const std::string& wanted = "") {
  double seconds = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + folder + "/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    double nanoseconds = 0;
    std::ifstream(task.path() / "schedstat") >> nanoseconds;
    if (wanted.empty() || name == wanted) seconds += 1e-9 * nanoseconds;
  }
  return seconds;
}

// What works beside both halves: the thread that answers the agent, and the supervisor.
struct Beside {
  double thread = CpuSecondsOf("self", "elastic");
  double supervisor = CpuSecondsOf(std::to_string(getppid()));
};

// What the times between Start and Stop took, together.
class Stopwatch {
 public:
  explicit Stopwatch(const Clock& clock) : clock_(clock) {}
  void Start() {
    begin_ = clock_.Now();
    cpu_begin_ = CpuSeconds();
  }
  void Stop() {
    wall_ += clock_.Now() - begin_;
    cpu_ += CpuSeconds() - cpu_begin_;
  }
  void Print(const char* what) const {
    std::printf("%s took %.6f s, %.6f s of CPU\n", what, ToMilliseconds(wall_) / 1000, cpu_);
  }

 private:
  const Clock& clock_;
  TimePoint begin_{};
  double cpu_begin_ = 0;
  Duration wall_{};
  double cpu_ = 0;
};

class LoopReplica final : public elastic::Replica {
 public:
  Step& step() { return step_; }
  // A step without any of elastic/.
  Status StepAlone() {
    step_.Compute();
    return step_.Reduce(*communicator_).Wait();
  }

  void BeginStep(StepNumber) override {}
  void BeginReduction(std::shared_ptr<Communicator> communicator, std::vector<int>) override {
    communicator_ = std::move(communicator);
  }
  void BeginPart(StepNumber, const elastic::Part&, bool) override {}
  void EndPart() override {}
  void StartReduction() override { reduction_ = step_.Reduce(*communicator_); }
  Status FinishReduction() override { return reduction_.Wait(); }
  void Apply(StepNumber step) override { applied_ = step; }
  std::vector<elastic::Buffer> ReducedGradients(StepNumber) override {
    return {{step_.sum().data(), step_.sum().size(), DataType::kFloat32}};
  }
  std::vector<elastic::Piece> Pieces() override {
    return {{"applied",
             elastic::ElementType::kUint64,
             {1},
             {reinterpret_cast<const char*>(&applied_), sizeof(applied_)}}};
  }
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override {
    ASSIGN_OR_RETURN(const elastic::Piece* piece, FindPiece(pieces, Pieces().front()));
    StepNumber applied = 0;
    std::memcpy(&applied, piece->bytes.data(), sizeof(applied));
    return std::function<void()>([this, applied] { applied_ = applied; });
  }
  uint64_t WeightsHash() const override { return MixBits(applied_); }

 private:
  Step step_;
  std::shared_ptr<Communicator> communicator_;
  Work reduction_;
  StepNumber applied_ = 0;
};

class LoopBatches final : public elastic::BatchSource {
 public:
  Batch Get(StepNumber step) override {
    for (int i = 0; i < kBatch; ++i) ids_[i] = static_cast<int64_t>(step - 1) * kBatch + i;
    return {1, ids_};
  }
  StepNumber steps() const override { return FLAGS_steps; }

 private:
  std::array<int64_t, kBatch> ids_{};
};

Status Run() {
  SystemClock clock;
  SystemRandom random;
  SystemFiles files;
  if (FLAGS_alternate > 0 && FLAGS_steps % FLAGS_alternate != 0) {
    return InvalidArgument("--steps must be a multiple of --alternate");
  }
  ASSIGN_OR_RETURN(Environment environment, ReadEnvironment());
  if (!environment.agent_fd.has_value()) {
    return InvalidArgument("there is no supervisor; start this with closeranks run");
  }
  ASSIGN_OR_RETURN(UniqueFd agent, TakeAgentSocket(environment));
  elastic::Worker::Options options;
  options.shared_memory = !FLAGS_tcp;
  elastic::SystemPlatform platform(clock, random);
  ASSIGN_OR_RETURN(std::unique_ptr<elastic::Worker> worker,
                   elastic::Worker::Start(std::make_unique<net::SystemSocket>(std::move(agent)),
                                          std::move(options), platform));
  auto events = std::make_unique<telemetry::EventLog>();
  elastic::Ledger ledger;
  if (!FLAGS_report.empty()) {
    ASSIGN_OR_RETURN(
        events, telemetry::EventLog::Open(
                    files, telemetry::WorkerEventsPath(FLAGS_report, worker->process()), clock));
    ASSIGN_OR_RETURN(ledger, elastic::Ledger::Open(
                                 files, telemetry::LedgerPath(FLAGS_report, worker->process())));
  }
  LoopBatches batches;
  LoopReplica replica;
  elastic::EventWriter observer(*events);
  elastic::StepLoop::Options loop_options;
  loop_options.report_failure = [&](Generation generation, const Status& why) {
    worker->ReportFailure(generation, why);
  };
  loop_options.flight = &worker->flight();
  loop_options.report_done = [&](rendezvous::WorkerState) { worker->ReportDone(); };
  loop_options.report_entered = [&](Generation generation) { worker->ReportEntered(generation); };
  elastic::StepLoop loop(worker->gate(), replica, batches, std::move(ledger), observer, clock,
                         std::move(loop_options));
  RETURN_IF_ERROR(worker->Join("a loop of all-reduces"));
  Stopwatch with(clock), without(clock);
  ASSIGN_OR_RETURN(bool more, loop.NextStep());
  const Beside before;
  with.Start();
  while (more) {
    replica.step().Compute();
    for (size_t i = 0; i < loop.todo().size(); ++i) {
      loop.PreparePart(i);
      loop.BeginPart(i);
      loop.EndPart(i, 0.0);
    }
    RETURN_IF_ERROR(loop.Commit().status());
    const bool turn = FLAGS_alternate > 0 && loop.step() % FLAGS_alternate == 0;
    ASSIGN_OR_RETURN(more, loop.NextStep());
    if (!turn) continue;
    with.Stop();
    without.Start();
    for (uint64_t i = 0; i < FLAGS_alternate; ++i) RETURN_IF_ERROR(replica.StepAlone());
    without.Stop();
    with.Start();
  }
  with.Stop();
  if (FLAGS_alternate > 0) {
    with.Print("steps with it");
    without.Print("steps without it");
    const Beside after;
    std::printf("beside both %.6f s of CPU here, %.6f s of the supervisor\n",
                after.thread - before.thread, after.supervisor - before.supervisor);
    std::fflush(stdout);
  }
  return loop.Finish();
}

int Main(int argc, char** argv) {
  static telemetry::LogPrefix prefix;
  telemetry::InitLogging(argv[0], prefix);
  google::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  const Status status = Run();
  if (status.ok()) return 0;
  LOG(ERROR) << status;
  return static_cast<int>(ExitCodeFor(status));
}

}  // namespace
}  // namespace closeranks

int main(int argc, char** argv) { return closeranks::Main(argc, argv); }
