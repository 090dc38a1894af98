#include "telemetry/report/verdict.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "telemetry/report/format_number.h"

namespace closeranks::telemetry {
namespace {

std::string TimedFromInWords(LossTimedFrom from) {
  switch (from) {
    case LossTimedFrom::kKill:
      return "the kill";
    case LossTimedFrom::kExit:
      return "the loss";
    case LossTimedFrom::kLastHeard:
      return "the last sign of life";
    case LossTimedFrom::kDetection:
      break;
  }
  return "the loss was noticed";
}

std::string LossSentence(const Recovery& recovery) {
  std::string were = recovery.lost_ranks.size() > 1 ? " were" : " was";
  std::string verb = " died";
  if (recovery.timed_from == LossTimedFrom::kKill) {
    verb = were + " killed";
  } else if (recovery.timed_from == LossTimedFrom::kLastHeard) {
    verb = " fell silent";
  } else if (!recovery.ended_for.empty()) {
    verb = were + " ended";
  }
  std::string text = RankList(recovery.lost_ranks) + verb;
  if (recovery.torn_step > 0) text += " in step " + std::to_string(recovery.torn_step);
  text += "; " + Counted(recovery.survivors, "survivor", "survivors") + " had a new world " +
          FormatMilliseconds(recovery.detect_ms + recovery.agree_ms + recovery.rewire_ms);
  if (recovery.commit_ms) text += " and committed again " + FormatMilliseconds(*recovery.commit_ms);
  return text + " after " + TimedFromInWords(recovery.timed_from) + ".";
}

std::string UnansweredSentence(const UnansweredKills& unanswered) {
  std::vector<int32_t> ranks;
  StepNumber step = 0;
  for (const UnansweredKill& kill : unanswered.kills) {
    if (kill.rank >= 0) ranks.push_back(kill.rank);
    step = std::max(step, kill.step);
  }
  std::string text = RankList(ranks) + (ranks.size() > 1 ? " were" : " was") + " killed";
  if (step > 0) text += " in step " + std::to_string(step);
  return text + (unanswered.went_on ? "; no recovery followed." : " and the run did not go on.");
}

std::string NoRecoverySentence(const RunReport& report) {
  // Not all that were to start need have come into a world.
  int most = 0;
  for (const WorldSizePoint& world : report.world_sizes) most = std::max(most, world.size);
  std::string text = Counted(most, "worker", "workers") + " trained " +
                     Counted(static_cast<int64_t>(report.steps), "step", "steps");
  if (report.abnormal_exits.empty()) return text + " and lost nobody.";
  return text + "; " + Counted(std::ssize(report.abnormal_exits), "worker", "workers") +
         " died without a recovery.";
}

std::string SamplesSentence(const RunReport& report) {
  const LedgerCount& ledger = report.ledger;
  if (ledger.EachSampleOnce()) return "No sample was lost, none repeated.";
  if (!report.members_elsewhere.empty() && ledger.samples_duplicated == 0) {
    return Counted(ledger.samples_lost, "sample isn't", "samples aren't") + " in these records.";
  }
  bool stopped = report.unanswered_kills && !report.unanswered_kills->went_on;
  if (stopped && ledger.samples_duplicated == 0) {
    return Counted(ledger.samples_lost, "sample is", "samples are") + " missing.";
  }
  return Counted(ledger.samples_lost, "sample", "samples") + " lost, " +
         Counted(ledger.samples_duplicated, "repetition", "repetitions") + ".";
}

std::string JoinSentence(const Join& join) {
  std::string text = "A new worker joined";
  if (join.rank >= 0) text += " as rank " + std::to_string(join.rank);
  if (join.first_step > 0) text += " at step " + std::to_string(join.first_step);
  return text + ".";
}

}  // namespace

std::string Verdict(const RunReport& report) {
  std::string text;
  constexpr size_t kMost = 3;
  if (report.recoveries.empty() && !report.unanswered_kills) text = NoRecoverySentence(report);
  for (size_t i = 0; i < report.recoveries.size() && i < kMost; ++i) {
    text += (text.empty() ? "" : " ") + LossSentence(report.recoveries[i]);
  }
  if (report.recoveries.size() > kMost) {
    text += " " + std::to_string(report.recoveries.size() - kMost) + " more losses followed.";
  }
  if (report.unanswered_kills) {
    text += (text.empty() ? "" : " ") + UnansweredSentence(*report.unanswered_kills);
  }
  for (size_t i = 0; i < report.joins.size() && i < kMost; ++i) {
    text += " " + JoinSentence(report.joins[i]);
  }
  if (!report.members_elsewhere.empty()) {
    text += " These are the records of only some of its members; " +
            Counted(std::ssize(report.members_elsewhere), "other has", "others have") +
            " theirs elsewhere.";
  }
  text += " " + SamplesSentence(report);
  if (report.ledger.missing_steps > 0 && report.members_elsewhere.empty()) {
    text += " " + Counted(report.ledger.missing_steps, "step is", "steps are") + " in no ledger.";
  }
  if (!report.weights_agree) text += " The workers ended with different weights.";
  if (report.workers_at_end == 0) text += " No worker reached the end.";
  if (report.ledger.resumed_from + report.steps != report.planned_steps &&
      report.members_elsewhere.empty()) {
    text += " Only " + FormatCount(static_cast<int64_t>(report.steps)) + " of " +
            FormatCount(static_cast<int64_t>(report.planned_steps)) + " steps were done" +
            (report.ledger.resumed_from > 0
                 ? ", besides " + std::to_string(report.ledger.resumed_from) + " of earlier starts."
                 : ".");
  }
  return text;
}

}  // namespace closeranks::telemetry
