// Drives jobs of the shipping membership protocol through faults, one for each seed.
//
//   membership_simulation --seeds 10000            seeds 0 .. 9999
//   membership_simulation --from 17 --seeds 1 --trace
//   membership_simulation --expect_violation 'two decisions'    of code with a mistake planted
#include <chrono>
#include <cstdio>
#include <string>

#include "gflags/gflags.h"
#include "glog/logging.h"
#include "tests/simulation/first_violation.h"
#include "tests/simulation/membership_world.h"

DEFINE_uint64(seeds, 10000, "how many jobs are run");
DEFINE_uint64(from, 0, "the first seed");
DEFINE_bool(liveness, true, "also demand that jobs go on once faults are over");
DEFINE_bool(trace, false, "print what happens");

namespace {

const char* program_name = "membership_simulation";
uint64_t current_seed = 0;

int OnViolation(const std::string& violation) {
  std::fprintf(stderr, "seed %llu: %s\nreplay: %s --from %llu --seeds 1 --trace\n",
               static_cast<unsigned long long>(current_seed), violation.c_str(), program_name,
               static_cast<unsigned long long>(current_seed));
  return closeranks::simulation::ExitCodeOf(violation);
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  closeranks::simulation::EndByFailedCheck(&OnViolation);
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
    return OnViolation(result.violation);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu seeds, %zu events, %zu generations, %zu stable steps, %zu jobs lost their quorum; "
      "%.1f s, %.0f seeds/s\n",
      static_cast<unsigned long long>(FLAGS_seeds), events, decisions, stable_steps, lost, seconds,
      static_cast<double>(FLAGS_seeds) / seconds);
  return closeranks::simulation::ExitCodeOfNone();
}
