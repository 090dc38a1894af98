// Drives jobs of the shipping membership protocol through faults, one for each seed.
//
//   membership_simulation --seeds 10000            seeds 0 .. 9999
//   membership_simulation --from 17 --seeds 1 --trace
//   membership_simulation --expect_violation       fails unless some seed finds one
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "gflags/gflags.h"
#include "glog/logging.h"
#include "tests/simulation/membership_world.h"

DEFINE_uint64(seeds, 10000, "how many jobs are run");
DEFINE_uint64(from, 0, "the first seed");
DEFINE_bool(liveness, true, "also demand that jobs go on once faults are over");
DEFINE_bool(trace, false, "print what happens");
DEFINE_bool(expect_violation, false,
            "the protocol under test has a mistake: succeed at the first violation");

namespace {

const char* program_name = "membership_simulation";
uint64_t current_seed = 0;

void PrintReplay(const char* what) {
  std::fprintf(stderr, "seed %llu: %s\nreplay: %s --from %llu --seeds 1 --trace\n",
               static_cast<unsigned long long>(current_seed), what, program_name,
               static_cast<unsigned long long>(current_seed));
}

// The protocol's own checks end the process.
[[noreturn]] void OnFailedCheck() {
  PrintReplay("a CHECK of the protocol itself failed");
  std::fflush(nullptr);
  std::_Exit(FLAGS_expect_violation ? 0 : 1);
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  google::InstallFailureFunction(&OnFailedCheck);
  program_name = argv[0];
  const auto begin = std::chrono::steady_clock::now();
  size_t events = 0, decisions = 0, stable_steps = 0, lost = 0;
  for (current_seed = FLAGS_from; current_seed < FLAGS_from + FLAGS_seeds; ++current_seed) {
    closeranks::simulation::MembershipWorld world(current_seed, FLAGS_liveness, FLAGS_trace);
    const auto result = world.Run();
    events += result.events;
    decisions += result.decisions;
    stable_steps += result.stable_steps;
    lost += result.lost;
    if (result.violation.empty()) continue;
    PrintReplay(result.violation.c_str());
    return FLAGS_expect_violation ? 0 : 1;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu seeds, %zu events, %zu generations, %zu stable steps, %zu jobs lost their quorum; "
      "%.1f s, %.0f seeds/s\n",
      static_cast<unsigned long long>(FLAGS_seeds), events, decisions, stable_steps, lost, seconds,
      static_cast<double>(FLAGS_seeds) / seconds);
  if (!FLAGS_expect_violation) return 0;
  std::fprintf(stderr, "the mistake was not found\n");
  return 1;
}
