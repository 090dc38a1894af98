// How long an all-reduce of float32 in place takes between processes of this machine:
//
//   bazel run -c opt //benchmarks:allreduce -- --ranks=2 --wire=shm
//
// Each row is the median of its iterations, of the slowest rank in each. Before each iteration
// every rank rewrites its buffer, and takes another one of a few, so that no cache holds more than
// a training step's would. The first column is the round trip of a flag in shared memory between
// two processes: rows compare only where it is alike (which cores of a host the ranks landed on can
// change everything).
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/status.h"
#include "benchmarks/forked_ranks.h"
#include "collectives/communicator.h"
#include "gflags/gflags.h"
#include "glog/logging.h"

DEFINE_int32(ranks, 2, "number of processes");
DEFINE_string(wire, "shm", "shm or tcp (over loopback)");
DEFINE_string(algorithm, "", "ring, direct or exchange; selected by size when empty");
DEFINE_bool(progress_thread, true, "whether each rank has one");
DEFINE_int32(spin_us, 50, "how long a waiting rank polls before it sleeps");
DEFINE_uint64(max_bytes, 256 << 20, "the largest size");
DEFINE_double(seconds, 0.5, "roughly how long each size is measured");

namespace closeranks {
namespace {

using std::chrono::steady_clock;

constexpr int kBuffers = 3;  // for each rank

// In memory that all processes share.
struct SharedState {
  alignas(64) std::atomic<uint64_t> ping;
  alignas(64) std::atomic<uint64_t> pong;
};

double SecondsSince(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

// Ranks 0 and 1; nanoseconds, the best of a few.
double ProbeFlag(int rank, SharedState& shared, uint64_t& turn) {
  double best = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    constexpr int kTurns = 1000;
    const auto begin = steady_clock::now();
    for (int i = 0; i < kTurns; ++i) {
      ++turn;
      if (rank == 0) {
        shared.ping.store(turn, std::memory_order_release);
        while (shared.pong.load(std::memory_order_acquire) != turn) {
        }
      } else {
        while (shared.ping.load(std::memory_order_acquire) != turn) {
        }
        shared.pong.store(turn, std::memory_order_release);
      }
    }
    best = std::min(best, SecondsSince(begin) / kTurns * 1e9);
  }
  return best;
}

Status Measure(int rank, Communicator& communicator, size_t bytes, SharedState& shared,
               uint64_t& turn) {
  const size_t count = bytes / sizeof(float);
  std::vector<std::vector<float>> buffers(kBuffers, std::vector<float>(count));
  double probe = 0;
  if (rank < 2 && communicator.size() > 1) probe = ProbeFlag(rank, shared, turn);
  std::vector<double> times;
  double total = 0;
  bool go_on = true;
  for (int i = 0; go_on; ++i) {
    std::vector<float>& buffer = buffers[i % kBuffers];
    std::fill(buffer.begin(), buffer.end(), static_cast<float>(rank + 1));
    RETURN_IF_ERROR(communicator.Barrier().Wait());
    const auto begin = steady_clock::now();
    RETURN_IF_ERROR(
        communicator
            .AllReduce(buffer.data(), buffer.data(), count, DataType::kFloat32, Reduction::kSum)
            .Wait());
    double time = SecondsSince(begin);
    const auto n = static_cast<float>(communicator.size());
    const float expected = n * (n + 1) / 2;
    if (buffer.front() != expected || buffer.back() != expected) return Internal("a wrong sum");
    // The slowest rank's time, and rank 0 says when it is enough.
    std::vector<double> everyones(communicator.size());
    RETURN_IF_ERROR(communicator.AllGather(&time, everyones.data(), 1, DataType::kFloat64).Wait());
    time = *std::max_element(everyones.begin(), everyones.end());
    if (i >= 3) times.push_back(time);
    total += time;
    go_on = times.size() < 5 || (total < FLAGS_seconds && times.size() < 20000);
  }
  if (rank != 0) return OkStatus();
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  std::printf("%8.0f %12zu %12.1f %10.2f %8zu\n", probe, bytes, median * 1e6,
              static_cast<double>(bytes) / median * 1e-9, times.size());
  std::fflush(stdout);
  return OkStatus();
}

Status RunRank(int rank, Communicator& communicator, SharedState& shared) {
  uint64_t turn = 0;
  for (size_t bytes :
       {4ul, 1ul << 10, 64ul << 10, 1ul << 20, 16ul << 20, 100ul << 20, 256ul << 20}) {
    if (bytes > FLAGS_max_bytes) break;
    RETURN_IF_ERROR(Measure(rank, communicator, bytes, shared, turn));
  }
  // Nobody may close before everybody has ended.
  return communicator.Barrier().Wait();
}

int Run() {
  benchmarks::ForkedRanksOptions options;
  options.ranks = FLAGS_ranks;
  options.tcp = FLAGS_wire == "tcp";
  options.progress_thread = FLAGS_progress_thread;
  options.engine.spin = std::chrono::microseconds(FLAGS_spin_us);
  using collectives::Algorithm;
  auto& all_reduce = options.communicator.native.all_reduce;
  if (FLAGS_algorithm == "ring") all_reduce = Algorithm::kRingAllReduce;
  if (FLAGS_algorithm == "direct") all_reduce = Algorithm::kDirectAllReduce;
  if (FLAGS_algorithm == "exchange") all_reduce = Algorithm::kExchangeAllReduce;
  void* memory =
      mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PCHECK(memory != MAP_FAILED);
  auto& shared = *new (memory) SharedState{};
  std::printf("%d ranks, %s\n%8s %12s %12s %10s %8s\n", options.ranks, FLAGS_wire.c_str(),
              "flag ns", "bytes", "median us", "GB/s", "times");
  std::fflush(stdout);
  const int failures = benchmarks::RunForkedRanks(
      options,
      [&](int rank, Communicator& communicator) { return RunRank(rank, communicator, shared); });
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace closeranks

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  google::InitGoogleLogging(argv[0]);
  return closeranks::Run();
}
