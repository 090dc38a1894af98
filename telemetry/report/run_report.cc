#include "telemetry/report/run_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "telemetry/report/format_number.h"
#include "telemetry/report/world_history.h"

namespace closeranks::telemetry {
namespace {

const Timed<StartEvent>* FirstStart(const RunEvents& events) {
  const Timed<StartEvent>* first = nullptr;
  for (const WorkerEvents& worker : events.workers) {
    if (worker.start && (first == nullptr || worker.start->t < first->t)) first = &*worker.start;
  }
  return first;
}

Result<LedgerExpectation> ExpectationOf(const RunEvents& events, const std::string& folder) {
  const Timed<StartEvent>* start = FirstStart(events);
  if (start == nullptr) return InvalidArgument(folder + ": no worker's events hold a \"start\"");
  return LedgerExpectation{.samples = start->event.samples, .epochs = start->event.epochs};
}

void TakeConfiguration(const RunEvents& events, const StartEvent& start, RunReport& report) {
  report.ranks = start.ranks;
  report.mode = start.mode;
  report.epochs = start.epochs;
  report.batch = start.batch;
  report.samples = start.samples;
  report.logical_shards = start.logical_shards;
  report.seed = start.seed;
  report.planned_steps = start.steps;
  if (events.supervisor && events.supervisor->run) {
    report.command = events.supervisor->run->event.command;
  }
  for (const WorkerEvents& worker : events.workers) {
    if (!worker.start) continue;
    const StartEvent& other = worker.start->event;
    if (other.mode != start.mode || other.epochs != start.epochs || other.batch != start.batch ||
        other.samples != start.samples || other.seed != start.seed ||
        other.logical_shards != start.logical_shards) {
      report.notes.push_back(worker.file + " was started with another configuration");
    }
  }
}

void TakeCommits(const RunEvents& events, const WorldHistory& history, RunReport& report) {
  // Of each step the commit that stands (of the last generation), by whoever made it first.
  std::map<StepNumber, const Timed<CommitEvent>*> standing;
  for (const WorkerEvents& worker : events.workers) {
    for (const Timed<CommitEvent>& commit : worker.commits) {
      const Timed<CommitEvent>*& best = standing[commit.event.step];
      if (best == nullptr || commit.event.gen > best->event.gen ||
          (commit.event.gen == best->event.gen && commit.t < best->t)) {
        best = &commit;
      }
    }
  }
  if (standing.empty()) return;
  double samples = 0;
  for (const auto& [step, commit] : standing) {
    const CommitEvent& event = commit->event;
    report.loss.push_back(
        {step, event.epoch, event.gen, history.Seconds(commit->t), event.loss, event.samples});
    samples += static_cast<double>(event.samples);
  }
  report.steps = report.loss.size();
  report.final_loss = report.loss.back().loss;
  report.seconds = report.loss.back().at_seconds;
  if (report.seconds > 0) {
    report.steps_per_second = static_cast<double>(report.steps) / report.seconds;
    report.samples_per_second = samples / report.seconds;
  }
}

// The narrowest round width that needs at most 120 bins.
double BinSeconds(double seconds) {
  constexpr double kMostBins = 120;
  for (double width : {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
                       600.0, 1800.0, 3600.0}) {
    if (seconds <= width * kMostBins) return width;
  }
  return seconds / kMostBins;
}

void TakeThroughput(RunReport& report) {
  if (!(report.seconds > 0)) return;
  double width = report.bin_seconds = BinSeconds(report.seconds);
  // A rest of less than half a bin belongs to the bin before it: alone it would show one step's
  // luck.
  auto bins = std::max<size_t>(1, static_cast<size_t>(std::round(report.seconds / width)));
  auto bin_end = [&](size_t bin) {
    return bin + 1 == bins ? report.seconds : static_cast<double>(bin + 1) * width;
  };
  std::vector<double> samples(bins, 0.0);
  // A step's samples are spread evenly over the time since the step before, so that a pause shows
  // as low throughput and not as an artefact of where the bins happen to begin.
  double previous = 0;
  for (const LossPoint& point : report.loss) {
    double begin = previous;
    double end = std::min(point.at_seconds, report.seconds);
    previous = std::max(previous, point.at_seconds);
    if (end <= begin) continue;
    auto last = std::min(bins - 1, static_cast<size_t>(end / width));
    for (auto bin = std::min(last, static_cast<size_t>(begin / width)); bin <= last; ++bin) {
      double from = std::max(begin, static_cast<double>(bin) * width);
      double to = std::min(end, bin_end(bin));
      if (to <= from) continue;
      samples[bin] += static_cast<double>(point.samples) * (to - from) / (end - begin);
    }
  }
  for (size_t bin = 0; bin < bins; ++bin) {
    double begin = static_cast<double>(bin) * width;
    report.throughput.push_back({begin, samples[bin] / (bin_end(bin) - begin)});
  }
}

void TakeResults(const RunEvents& events, RunReport& report) {
  TimePoint measured = TimePoint::min();
  for (const WorkerEvents& worker : events.workers) {
    for (const Timed<MetricEvent>& metric : worker.metrics) {
      if (metric.event.name != "test_accuracy" || metric.t < measured) continue;
      measured = metric.t;
      report.test_accuracy = metric.event.value;
    }
    if (!worker.end) continue;
    const std::string& weights = worker.end->event.weights_sha256;
    if (report.workers_at_end++ == 0) report.weights_sha256 = weights;
    if (report.weights_sha256 != weights) report.weights_agree = false;
  }
}

void FindMembersElsewhere(const RunEvents& events, const WorldHistory& history, RunReport& report) {
  std::set<MemberId> elsewhere;
  for (const auto& [generation, change] : history.changes) {
    const auto& members = change.entries.front().world->members;
    elsewhere.insert(members.begin(), members.end());
  }
  for (const WorkerEvents& worker : events.workers) {
    if (worker.start) elsewhere.erase(worker.start->event.member);
  }
  report.members_elsewhere.assign(elsewhere.begin(), elsewhere.end());
}

void TakeNotes(const RunEvents& events, RunReport& report) {
  std::vector<std::string> torn = events.torn;
  torn.insert(torn.end(), report.ledger.torn.begin(), report.ledger.torn.end());
  for (const std::string& name : torn) {
    report.notes.push_back("the last line of " + name +
                           " is cut off and ignored: its writer was killed, or the disk was full");
  }
  for (const WorkerEvents& worker : events.workers) {
    for (const Timed<SlowEvent>& slow : worker.slow) {
      report.notes.push_back("member " + std::to_string(worker.member) + " took " +
                             FormatFixed(slow.event.factor, 2) +
                             " times as long as the others for a sample, as of step " +
                             std::to_string(slow.event.step));
    }
  }
  if (report.ledger.resumed_from > 0) {
    report.notes.push_back("the run went on from its checkpoint of step " +
                           std::to_string(report.ledger.resumed_from) +
                           "; of the steps before, only the samples are in these records");
  }
  if (!report.ledger.conflicts.empty()) {
    const LedgerConflict& first = report.ledger.conflicts.front();
    report.notes.push_back("ledgers disagree about steps (" +
                           std::to_string(report.ledger.conflicts.size()) + "); in step " +
                           std::to_string(first.step) + " " + first.what);
  }
  if (report.ledger.last_step != report.loss.back().step) {
    report.notes.push_back("the ledgers end with step " + std::to_string(report.ledger.last_step) +
                           ", the commits with step " + std::to_string(report.loss.back().step));
  }
  if (!events.supervisor) {
    report.notes.push_back("there is no record of the launcher (events.supervisor.jsonl)");
  } else if (events.supervisor->end && events.supervisor->end->event.exit_code != 0) {
    report.notes.push_back("the launcher ended with exit code " +
                           std::to_string(events.supervisor->end->event.exit_code));
  }
}

}  // namespace

bool RunReport::Sound() const {
  return ledger.Sound() && weights_agree && workers_at_end > 0 &&
         ledger.resumed_from + steps == planned_steps;
}

Result<RunReport> MakeRunReport(const RunEvents& events, const LedgerCount& ledger) {
  const Timed<StartEvent>* start = FirstStart(events);
  if (start == nullptr) return InvalidArgument("no worker's events hold a \"start\"");
  WorldHistory history = ReadWorldHistory(events);
  if (history.changes.empty()) return InvalidArgument("no worker ever had a usable world");
  RunReport report;
  report.ledger = ledger;
  TakeConfiguration(events, start->event, report);
  TakeCommits(events, history, report);
  if (report.steps == 0) return InvalidArgument("no step was ever committed");
  TakeThroughput(report);
  for (const auto& [generation, change] : history.changes) {
    report.world_sizes.push_back(
        {history.Seconds(change.usable), change.entries.front().world->size});
  }
  Losses losses = FindLosses(history, events, report.notes);
  report.recoveries = std::move(losses.recoveries);
  report.unanswered_kills = std::move(losses.unanswered);
  report.abnormal_exits = std::move(losses.abnormal_exits);
  report.joins = FindJoins(history, events, report.notes);
  FindMembersElsewhere(events, history, report);
  TakeResults(events, report);
  TakeNotes(events, report);
  return report;
}

Result<LedgerExpectation> ReadExpectation(Files& files, const std::string& folder) {
  ASSIGN_OR_RETURN(RunEvents events, ReadEvents(files, folder));
  return ExpectationOf(events, folder);
}

Result<RunReport> ReadRunReport(Files& files, const std::string& folder) {
  ASSIGN_OR_RETURN(RunEvents events, ReadEvents(files, folder));
  ASSIGN_OR_RETURN(LedgerExpectation expected, ExpectationOf(events, folder));
  ASSIGN_OR_RETURN(LedgerCount ledger, CountLedgers(files, {folder}, expected));
  Result<RunReport> report = MakeRunReport(events, ledger);
  if (!report.ok()) return report.status().WithContext(folder);
  return report;
}

}  // namespace closeranks::telemetry
