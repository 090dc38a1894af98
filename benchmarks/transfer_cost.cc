// What it costs those who step that a state is on its way to who joins: the same steps with a
// transfer and without, in turns.
//
//   transfer_cost --ranks=4 --state_mib=480 --gradient_mib=160 --pairs=10
//
// All ranks but the last are sources: they compute for as long as --work says and sum the gradients
// over all ranks; the last one listens, as it does in a run. The state of a model under Adam is
// three times its gradients. A transfer's time begins with the copy of the state and ends with the
// step that shows that everything has arrived. The listener, which would be another host's, takes
// its part of this machine's cores, in both.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "benchmarks/forked_ranks.h"
#include "collectives/communicator.h"
#include "elastic/page_buffer.h"
#include "elastic/state.h"
#include "elastic/state_transfer.h"
#include "gflags/gflags.h"
#include "glog/logging.h"

DEFINE_int32(ranks, 4, "the last one is who joins");
DEFINE_bool(tcp, false, "no shared memory");
DEFINE_uint64(state_mib, 480, "of the state");
DEFINE_uint64(gradient_mib, 160, "summed in each step");
DEFINE_int32(work, 0, "passes over 64 KiB that stand for a step's computation");
DEFINE_bool(
    warm, false,
    "each rank touches as much memory before each transfer as that needs: where a host takes "
    "back what its virtual machine has freed, touching it again takes longer than all else");
DEFINE_int32(pairs, 10, "of a transfer and as many steps without one");

namespace closeranks {
namespace {

// That a transfer takes.
constexpr int kMostSteps = 10;

class State final : public elastic::StateOwner {
 public:
  State() : bytes_(FLAGS_state_mib << 20, 's') {}
  std::vector<elastic::Piece> Pieces() override { return {elastic::OpaquePiece("state", bytes_)}; }
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece>) override {
    return Internal("nothing is loaded here");
  }

 private:
  const std::string bytes_;
};

class Rank {
 public:
  explicit Rank(Communicator& communicator)
      : communicator_(communicator),
        listens_(communicator.rank() + 1 == communicator.size()),
        own_((FLAGS_gradient_mib << 20) / sizeof(float), 1.0f),
        sum_(own_.size()),
        scratch_(16384, 1.0f) {}

  // In milliseconds, each step of it; the copy belongs to the first.
  Result<std::vector<double>> Transfer() {
    std::vector<bool> listeners(static_cast<size_t>(communicator_.size()), false);
    listeners.back() = true;
    state_.applied = ++generation_;
    if (FLAGS_warm) TouchMemory();
    RETURN_IF_ERROR(communicator_.Barrier().Wait());
    std::vector<double> steps;
    TimePoint begin = clock_.Now();
    RETURN_IF_ERROR(transfer_.Begin(communicator_, listeners, {state_, owner_, {}}, true));
    while (!transfer_.confirmed()) {
      transfer_.StartChunk(communicator_);
      RETURN_IF_ERROR(Step(true));
      steps.push_back(ToMilliseconds(clock_.Now() - begin));
      begin = clock_.Now();
    }
    transfer_.End();
    return steps;
  }
  Result<std::vector<double>> StepsAlone(size_t count) {
    std::vector<double> steps;
    while (steps.size() < count) {
      const TimePoint begin = clock_.Now();
      RETURN_IF_ERROR(Step(false));
      steps.push_back(ToMilliseconds(clock_.Now() - begin));
    }
    return steps;
  }

 private:
  Status Step(bool transfers) {
    if (!listens_) Compute();
    Work reduced = communicator_.AllReduce(own_.data(), sum_.data(), own_.size(),
                                           DataType::kFloat32, Reduction::kSum);
    RETURN_IF_ERROR(reduced.Wait());
    if (transfers) RETURN_IF_ERROR(transfer_.FinishChunk());
    if (transfers && listens_) {
      const std::array<elastic::Buffer, 1> gradients = {
          elastic::Buffer{sum_.data(), sum_.size(), DataType::kFloat32}};
      transfer_.Hear(++state_.applied, 1, elastic::StepSamples(1), gradients);
    }
    return OkStatus();
  }
  // In pieces as large as the transfer's, which then get these pages.
  void TouchMemory() const {
    std::vector<elastic::PageBuffer> pieces;
    pieces.emplace_back((FLAGS_state_mib + 1) << 20);
    for (int step = 0; listens_ && step < kMostSteps; ++step) {
      pieces.emplace_back(FLAGS_gradient_mib << 20);
    }
    for (elastic::PageBuffer& piece : pieces) std::memset(piece.data(), 1, piece.size());
  }
  void Compute() {
    for (int pass = 0; pass < FLAGS_work; ++pass) {
      for (float& x : scratch_) x = x * 0.999f + 0.001f;
    }
    // As a training step would.
    std::fill(own_.begin(), own_.end(), scratch_[0]);
  }

  Communicator& communicator_;
  const bool listens_;
  SystemClock clock_;
  State owner_;
  rendezvous::WorkerState state_;
  Generation generation_ = 0;
  elastic::StateTransfer transfer_{size_t{64} << 10};
  std::vector<float> own_, sum_, scratch_;
};

// All threads of this process.
double CpuMilliseconds() {
  rusage usage;
  PCHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  auto milliseconds = [](const timeval& time) {
    return 1e3 * static_cast<double>(time.tv_sec) + 1e-3 * static_cast<double>(time.tv_usec);
  };
  return milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
}

// A transfer, or as many steps without one.
struct Run {
  std::vector<double> steps;  // in milliseconds
  double cpu = 0;             // of this rank, in milliseconds
  double all() const { return std::accumulate(steps.begin(), steps.end(), 0.0); }
  double longest() const { return *std::max_element(steps.begin(), steps.end()); }
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Status RunRank(Communicator& communicator) {
  Rank rank(communicator);
  ASSIGN_OR_RETURN(const std::vector<double> warm, rank.Transfer());
  std::vector<double> ratios, steps, cpus;
  for (int pair = 0; pair < FLAGS_pairs; ++pair) {
    Run with, without;
    for (bool transfers : {pair % 2 == 0, pair % 2 != 0}) {
      Run& run = transfers ? with : without;
      const double begin = CpuMilliseconds();
      ASSIGN_OR_RETURN(run.steps, transfers ? rank.Transfer() : rank.StepsAlone(warm.size()));
      run.cpu = CpuMilliseconds() - begin;
    }
    ratios.push_back(with.all() / without.all());
    steps.push_back(Median(with.steps) / Median(without.steps));
    cpus.push_back(with.cpu / without.cpu);
    if (communicator.rank() != 0) continue;
    std::printf(
        "%zu steps with a transfer: %.0f ms (longest %.0f), CPU %.0f ms; without: %.0f ms "
        "(%.0f), CPU %.0f ms\n",
        warm.size(), with.all(), with.longest(), with.cpu, without.all(), without.longest(),
        without.cpu);
    std::fflush(stdout);
  }
  if (communicator.rank() == 0) {
    std::printf(
        "with a transfer to without, median of %zu pairs: %.3f the time of all steps, %.3f "
        "the median step, %.3f the CPU time of a source\n",
        ratios.size(), Median(ratios), Median(steps), Median(cpus));
  }
  return communicator.Barrier().Wait();
}

int Main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  google::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  benchmarks::ForkedRanksOptions options;
  options.ranks = FLAGS_ranks;
  options.tcp = FLAGS_tcp;
  const int failures = benchmarks::RunForkedRanks(
      options, [](int, Communicator& communicator) { return RunRank(communicator); });
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace closeranks

int main(int argc, char** argv) { return closeranks::Main(argc, argv); }
