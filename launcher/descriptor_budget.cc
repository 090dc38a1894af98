#include "launcher/descriptor_budget.h"

#include <algorithm>
#include <string>

namespace closeranks::launcher {
namespace {

// Its session, both its outputs, two lifelines and its flight recorder's memory.
constexpr size_t kForWorker = 6;
// The other ends of a worker's descriptors while it is started, the report of its start, and what
// libraries open for a moment.
constexpr size_t kSpare = 24;
// A link, and a second one that is taking its place.
constexpr size_t kForHost = 2;
// Fewer, and a handful of idlers would keep the job's own callers out.
constexpr size_t kLeast = 16;
// More than ever come at the same time.
constexpr size_t kMost = 512;

}  // namespace

Result<size_t> DescriptorsForStrangers(size_t limit, size_t open, size_t workers, size_t hosts) {
  size_t ours = open + workers * kForWorker + hosts * kForHost + kSpare;
  if (limit < ours + kLeast) {
    return ResourceExhausted("at most " + std::to_string(limit) +
                             " open files are allowed, too few for " + std::to_string(workers) +
                             " workers: raise the limit to " + std::to_string(ours + kLeast) +
                             " at least (ulimit -Hn)");
  }
  return std::min(limit - ours, kMost);
}

}  // namespace closeranks::launcher
