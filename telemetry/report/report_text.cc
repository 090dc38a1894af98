#include "telemetry/report/report_text.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "telemetry/report/format_number.h"
#include "telemetry/report/verdict.h"

namespace closeranks::telemetry {
namespace {

// The first row is the header. All cells are ASCII and end at the right of their column.
std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    text += " ";
    for (size_t i = 0; i < row.size(); ++i) {
      text += std::string(2 + widths[i] - row[i].size(), ' ') + row[i];
    }
    text += "\n";
  }
  return text;
}

std::string OrDash(const std::optional<double>& value, int decimals) {
  return value ? FormatFixed(*value, decimals) : "-";
}

std::string Ranks(const std::vector<int32_t>& ranks) {
  std::string text;
  for (int32_t rank : ranks) text += (text.empty() ? "" : ",") + std::to_string(rank);
  return text;
}

std::string Recoveries(const RunReport& report) {
  std::vector<std::vector<std::string>> rows = {{"recovery (ms): rank", "step", "detect", "agree",
                                                 "rewire", "catch-up", "total", "| replay apart",
                                                 "loss to commit"}};
  bool any_from_notice = false;
  for (const Recovery& recovery : report.recoveries) {
    bool from_notice = recovery.timed_from == LossTimedFrom::kDetection;
    any_from_notice |= from_notice;
    rows.push_back({Ranks(recovery.lost_ranks), std::to_string(recovery.torn_step),
                    from_notice ? "-" : FormatFixed(recovery.detect_ms, 1),
                    FormatFixed(recovery.agree_ms, 1), FormatFixed(recovery.rewire_ms, 1),
                    FormatFixed(recovery.catch_up_ms, 1),
                    FormatFixed(recovery.total_ms, 1) + (from_notice ? " from notice" : ""),
                    OrDash(recovery.replay_ms, 1), OrDash(recovery.commit_ms, 1)});
  }
  std::string text = Table(rows);
  if (any_from_notice) {
    text += "   (from notice: no detect, for when the worker was lost isn't on record)\n";
  }
  return text;
}

std::string Joins(const RunReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"join (ms): rank", "first step", "start of process", "transfer", "state", "total"}};
  for (const Join& join : report.joins) {
    rows.push_back({std::to_string(join.rank),
                    join.first_step > 0 ? std::to_string(join.first_step) : "-",
                    OrDash(join.boot_ms, 0), OrDash(join.transfer_ms, 1),
                    FormatBytes(join.transfer_bytes), OrDash(join.total_ms, 0)});
  }
  return Table(rows);
}

}  // namespace

std::string ReportText(const RunReport& report) {
  const LedgerCount& ledger = report.ledger;
  std::string text = Verdict(report) + "\n\n";
  if (report.test_accuracy) {
    text += "  test accuracy  " + FormatFixed(*report.test_accuracy * 100, 2) + " %\n";
  }
  text += "  steps          " + FormatCount(static_cast<int64_t>(report.steps)) + " in " +
          FormatFixed(report.seconds, 1) + " s (" + FormatFixed(report.steps_per_second, 1) +
          " steps/s, " + FormatCount(static_cast<int64_t>(report.samples_per_second)) +
          " samples/s)\n";
  text += "  samples        " + FormatCount(ledger.samples_expected) + " expected, " +
          FormatCount(ledger.samples_consumed) + " consumed, " + FormatCount(ledger.samples_lost) +
          " lost, " + FormatCount(ledger.samples_duplicated) + " duplicated\n";
  if (!report.weights_sha256.empty()) {
    text += "  weights        " + report.weights_sha256.substr(0, 16) +
            (report.weights_agree ? " on " + Counted(report.workers_at_end, "worker", "workers")
                                  : " on one, others differ") +
            "\n";
  }
  if (!report.recoveries.empty()) text += "\n" + Recoveries(report);
  if (!report.joins.empty()) text += "\n" + Joins(report);
  if (!report.notes.empty()) text += "\n";
  for (const std::string& note : report.notes) text += "  note: " + note + "\n";
  return text;
}

}  // namespace closeranks::telemetry
