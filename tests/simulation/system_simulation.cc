// Drives whole simulated jobs through faults, one for each seed.
//
//   system_simulation --seeds 2000                seeds 0 .. 1999
//   system_simulation --from 17 --seeds 1 --trace
//   system_simulation --from 17 --seeds 1 --only_faults 0,3
//   system_simulation --expect_violation 'has other weights'    of code with a mistake planted
#include <chrono>
#include <cstdio>
#include <optional>
#include <set>
#include <sstream>
#include <string>

#include "gflags/gflags.h"
#include "glog/logging.h"
#include "tests/simulation/first_violation.h"
#include "tests/simulation/system_world.h"

DEFINE_uint64(seeds, 2000, "how many jobs are run");
DEFINE_uint64(from, 0, "the first seed");
DEFINE_bool(trace, false, "print what happens");
DEFINE_string(only_faults, "", "the numbers of those faults of the schedule that are to happen");
DEFINE_double(least_trained, 0,
              "at least this share of the jobs must come to their end, of a thousand or more");

namespace closeranks::simulation {
namespace {

using Faults = std::optional<std::set<int>>;

const char* program_name = "system_simulation";
uint64_t current_seed = 0;
Faults current_faults;

std::string ListOf(const std::set<int>& numbers) {
  std::string text;
  for (int number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text.empty() ? "none" : text;
}

void PrintReplay(const std::string& what) {
  std::fprintf(stderr, "seed %llu: %s\nreplay: %s --from %llu --seeds 1 --trace%s\n",
               static_cast<unsigned long long>(current_seed), what.c_str(), program_name,
               static_cast<unsigned long long>(current_seed),
               current_faults ? (" --only_faults " + ListOf(*current_faults)).c_str() : "");
}

int OnViolation(const std::string& violation) {
  PrintReplay(violation);
  return ExitCodeOf(violation);
}

SystemWorld::Result RunSeed(bool trace) {
  return SystemWorld({current_seed, trace, current_faults}).Run();
}

// Leaves faults out, one after the other, as long as the job still fails without them.
void Minimise(const SystemWorld::Result& failed) {
  std::set<int> needed;
  if (current_faults) {
    needed = *current_faults;
  } else {
    for (int i = 0; i < static_cast<int>(failed.faults.size()); ++i) needed.insert(i);
  }
  std::string violation = failed.violation;
  for (int fault : std::set<int>(needed)) {
    std::set<int> fewer = needed;
    fewer.erase(fault);
    current_faults = fewer;
    const SystemWorld::Result result = RunSeed(false);
    if (result.violation.empty()) continue;
    needed = std::move(fewer);
    violation = result.violation;
  }
  current_faults = needed;
  std::fprintf(stderr, "faults that it takes:\n");
  for (int fault : needed) std::fprintf(stderr, "  %d: %s\n", fault, failed.faults[fault].c_str());
  PrintReplay(violation);
}

Faults ParseFaults(const std::string& text) {
  if (text.empty()) return std::nullopt;
  std::set<int> numbers;
  std::istringstream words(text);
  for (std::string word; text != "none" && std::getline(words, word, ',');) {
    numbers.insert(std::stoi(word));
  }
  return numbers;
}

int Main() {
  const Faults chosen = ParseFaults(FLAGS_only_faults);
  const auto begin = std::chrono::steady_clock::now();
  size_t events = 0, generations = 0, steps = 0, trained = 0, faults = 0;
  for (current_seed = FLAGS_from; current_seed < FLAGS_from + FLAGS_seeds; ++current_seed) {
    current_faults = chosen;
    const SystemWorld::Result result = RunSeed(FLAGS_trace);
    events += result.events;
    generations += result.generations;
    steps += result.steps;
    trained += result.is_trained;
    faults += result.struck;
    if (result.violation.empty()) continue;
    const int exit_code = OnViolation(result.violation);
    if (!ExpectsViolation()) Minimise(result);
    return exit_code;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%llu seeds, %zu faults, %zu events, %zu generations, %zu steps, %zu jobs came to their end; "
      "%.1f s, %.0f seeds/s\n",
      static_cast<unsigned long long>(FLAGS_seeds), faults, events, generations, steps, trained,
      seconds, static_cast<double>(FLAGS_seeds) / seconds);
  // A wild job that ends undone breaks no promise; if they all did, something else would be broken.
  const double share = static_cast<double>(trained) / static_cast<double>(FLAGS_seeds);
  if (!ExpectsViolation() && FLAGS_seeds >= 1000 && share < FLAGS_least_trained) {
    std::fprintf(stderr, "%.3f of the jobs came to their end, and at least %.3f should\n", share,
                 FLAGS_least_trained);
    return 1;
  }
  return ExitCodeOfNone();
}

}  // namespace
}  // namespace closeranks::simulation

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  if (!FLAGS_trace) FLAGS_minloglevel = google::GLOG_FATAL;
  closeranks::simulation::EndByFailedCheck(&closeranks::simulation::OnViolation);
  closeranks::simulation::program_name = argv[0];
  return closeranks::simulation::Main();
}
