#include "tests/simulation/system_checker.h"

#include <algorithm>
#include <sstream>

#include "glog/logging.h"
#include "telemetry/records.h"
#include "telemetry/report/ledger_count.h"

namespace closeranks::simulation {
namespace {

std::string Milliseconds(Duration duration) {
  return std::to_string(static_cast<int64_t>(ToMilliseconds(duration))) + " ms";
}

}  // namespace

void SystemChecker::Entered(const std::string& worker, const MemberProcess& process,
                            const rendezvous::Decision& decision, StepNumber step,
                            uint64_t weights_hash) {
  lineages_[decision.lineage].insert(process);
  for (const auto& [lineage, processes] : lineages_) {
    if (lineage == decision.lineage || !processes.contains(process)) continue;
    Fail(worker + " goes over to another lineage");
  }
  std::ostringstream text;
  text << decision;
  const auto [known, is_new] =
      generations_.emplace(Of{decision.lineage, decision.generation}, text.str());
  if (!is_new && known->second != text.str()) {
    Fail(worker + " is in another generation " + std::to_string(decision.generation) +
         " than others: " + text.str() + ", not " + known->second);
  }
  Applied(worker, decision, step, weights_hash);
}

void SystemChecker::Applied(const std::string& worker, const rendezvous::Decision& decision,
                            StepNumber step, uint64_t weights_hash) {
  const Generation reduced_in =
      step == decision.resume.applied ? decision.resume.reduced_in : decision.generation;
  const auto key = std::pair(Of{decision.lineage, step}, reduced_in);
  const auto [known, is_new] = weights_.emplace(key, std::pair(weights_hash, worker));
  if (!is_new && known->second.first != weights_hash) {
    Fail(worker + " has other weights than " + known->second.second + " after step " +
         std::to_string(step) + " of generation " + std::to_string(reduced_in));
  }
}

void SystemChecker::Trained(const std::string& worker, const MemberProcess& process,
                            uint64_t weights_hash) {
  trained_[worker] = weights_hash;
  trained_processes_.insert(process);
}

void SystemChecker::Holds(const std::string& process, size_t sockets, size_t most) {
  if (sockets <= most) return;
  Fail(process + " has " + std::to_string(sockets) + " sockets, at most " + std::to_string(most) +
       " were expected");
}

void SystemChecker::Operated(const std::string& worker, const telemetry::FlightRecord& record,
                             Duration limit) {
  for (const telemetry::FlightOperation& operation : record.operations) {
    const TimePoint end = operation.ended == TimePoint{} ? record.dumped : operation.ended;
    if (end - operation.begun <= limit) continue;
    Fail("operation " + std::to_string(operation.sequence) + " of generation " +
         std::to_string(operation.generation) + " of " + worker + " took " +
         Milliseconds(end - operation.begun) + ", its limit was " + Milliseconds(limit));
  }
}

void SystemChecker::CheckLedgers(Files& files, const std::string& folder, int samples, int epochs,
                                 bool complete) {
  auto counted = telemetry::CountLedgers(files, {folder}, {samples, epochs});
  if (!counted.ok()) {
    if (complete) Fail("the ledgers can't be counted: " + counted.status().message());
    return;
  }
  if (!counted->conflicts.empty()) Fail("ledgers contradict: " + counted->conflicts.front().what);
  if (counted->samples_duplicated > 0 || counted->out_of_range > 0) {
    Fail("samples were repeated: " + telemetry::LedgerCountText(*counted));
  }
  if (complete && !counted->Sound()) {
    Fail("samples were lost: " + telemetry::LedgerCountText(*counted));
  }
}

void SystemChecker::CheckLedgersOfEachLineage(Files& files, const std::string& folder, int samples,
                                              int epochs) {
  for (const auto& [lineage, processes] : lineages_) {
    const std::string own = folder + "." + lineage.ToString();
    CHECK(files.MakeFolder(own).ok());
    for (const MemberProcess& process : processes) {
      const Result<std::string> ledger = files.Read(telemetry::LedgerPath(folder, process));
      if (ledger.ok()) CHECK(files.Replace(telemetry::LedgerPath(own, process), *ledger).ok());
    }
    const bool is_complete =
        std::any_of(processes.begin(), processes.end(),
                    [this](const auto& process) { return trained_processes_.contains(process); });
    CheckLedgers(files, own, samples, epochs, is_complete);
  }
}

void SystemChecker::CheckWeights(uint64_t expected) {
  for (const auto& [worker, hash] : trained_) {
    if (hash != expected) Fail(worker + " was trained to other weights than an undisturbed run");
  }
}

}  // namespace closeranks::simulation
