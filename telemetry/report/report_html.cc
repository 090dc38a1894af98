#include "telemetry/report/report_html.h"

#include <cmath>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "telemetry/report/escape_html.h"
#include "telemetry/report/format_number.h"
#include "telemetry/report/timeline_svg.h"
#include "telemetry/report/verdict.h"

namespace closeranks::telemetry {
namespace {

// Text and both marks have a contrast of at least 4.5 : 1 on their background, in both schemes.
constexpr std::string_view kCss = R"(
:root { color-scheme: light dark; --page: #ffffff; --text: #1c2024; --muted: #636b74;
  --grid: #e7e9ec; --line: #1d5fae; --loss: #b3261e; --join: #14713f; --panel: #f6f7f8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --text: #e6e8ea; --muted: #9aa2ab; --grid: #2b3036;
    --line: #7db4f5; --loss: #ff8d85; --join: #6fd39a; --panel: #1c2024; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans",
    sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 22px 30px 48px; }
.name { color: var(--muted); margin: 0 0 4px; }
h1 { font-size: 20px; line-height: 1.35; font-weight: 600; margin: 0 0 16px; padding-left: 14px;
  border-left: 4px solid var(--join); text-wrap: pretty; }
h1.bad { border-color: var(--loss); }
h2 { font-size: 15px; margin: 30px 0 6px; }
.results { display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 0 0 18px; }
.results dt { color: var(--muted); }
.results dd { margin: 0; font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums; }
.results small { font-size: 13px; font-weight: 400; color: var(--muted); }
.bad-value { color: var(--loss); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 0 4px 26px; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { font-weight: 400; color: var(--muted); border-bottom-color: var(--muted); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.total { font-weight: 600; }
.apart { padding-left: 60px; }
.configuration th, .configuration td { text-align: left; border: 0; padding: 2px 24px 2px 0;
  white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.configuration th { white-space: nowrap; }
p.about { color: var(--muted); margin: 6px 0 0; max-width: 85ch; text-wrap: pretty; }
code { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; }
)";

std::string Result(std::string_view name, const std::string& value, const std::string& small = "",
                   bool bad = false) {
  std::string html = "<div><dt>" + EscapeHtml(name) + "</dt><dd";
  if (bad) html += " class=\"bad-value\"";
  html += ">" + EscapeHtml(value);
  if (!small.empty()) html += " <small>" + EscapeHtml(small) + "</small>";
  return html + "</dd></div>\n";
}

std::string Results(const RunReport& report) {
  const LedgerCount& ledger = report.ledger;
  std::string html = "<dl class=\"results\">\n";
  if (report.test_accuracy) {
    html += Result("Test accuracy", FormatFixed(*report.test_accuracy * 100, 2) + " %");
  }
  html += Result("Steps", FormatCount(static_cast<int64_t>(report.steps)),
                 "in " + FormatFixed(report.seconds, 1) + " s, " +
                     FormatFixed(report.steps_per_second, 1) + " per second");
  html += Result("Samples consumed", FormatCount(ledger.samples_consumed),
                 "of " + FormatCount(ledger.samples_expected),
                 ledger.samples_consumed != ledger.samples_expected);
  html += Result("Lost", FormatCount(ledger.samples_lost), "", ledger.samples_lost > 0);
  html +=
      Result("Repeated", FormatCount(ledger.samples_duplicated), "", ledger.samples_duplicated > 0);
  if (report.workers_at_end > 0) {
    html +=
        Result("Weights at the end", report.weights_agree ? "the same" : "different",
               "on " + Counted(report.workers_at_end, "worker", "workers"), !report.weights_agree);
  }
  return html + "</dl>\n";
}

std::string Cell(const std::string& text, std::string_view css_class = "") {
  std::string html = "<td";
  if (!css_class.empty()) html += " class=\"" + std::string(css_class) + "\"";
  return html + ">" + EscapeHtml(text) + "</td>";
}

std::string HeaderRow(std::initializer_list<std::string_view> names) {
  std::string html = "<tr>";
  for (std::string_view name : names) {
    bool apart = name == "replay";
    html += apart ? "<th class=\"apart\">" : "<th>";
    html += EscapeHtml(name) + "</th>";
  }
  return html + "</tr>\n";
}

std::string OptionalMilliseconds(const std::optional<double>& value) {
  return value ? FormatMilliseconds(*value) : "\u2013";
}

std::string HowLost(const Recovery& recovery) {
  if (!recovery.ended_for.empty()) return "ended, as " + recovery.ended_for;
  switch (recovery.timed_from) {
    case LossTimedFrom::kKill:
      return "killed";
    case LossTimedFrom::kExit:
    case LossTimedFrom::kLastHeard:
      return recovery.cause.empty() ? "died" : recovery.cause;
    case LossTimedFrom::kDetection:
      break;
  }
  return "died, when isn\u2019t on record";
}

std::string Recoveries(const RunReport& report) {
  if (report.recoveries.empty()) return "";
  std::string html = "<h2>Recovery</h2>\n<div class=\"wide\"><table>\n" +
                     HeaderRow({"lost", "how", "in step", "at", "detect", "agree", "rewire",
                                "catch-up", "total", "replay", "loss to commit"});
  bool any_from_notice = false, any_silent = false;
  for (const Recovery& recovery : report.recoveries) {
    bool from_notice = recovery.timed_from == LossTimedFrom::kDetection;
    any_from_notice |= from_notice;
    any_silent |= recovery.timed_from == LossTimedFrom::kLastHeard;
    html +=
        "<tr>" + Cell(RankList(recovery.lost_ranks)) + Cell(HowLost(recovery)) +
        Cell(FormatCount(static_cast<int64_t>(recovery.torn_step))) +
        Cell(FormatFixed(recovery.at_seconds, 2) + " s") +
        Cell(from_notice ? "\u2013" : FormatMilliseconds(recovery.detect_ms)) +
        Cell(FormatMilliseconds(recovery.agree_ms)) + Cell(FormatMilliseconds(recovery.rewire_ms)) +
        Cell(FormatMilliseconds(recovery.catch_up_ms)) +
        Cell(FormatMilliseconds(recovery.total_ms) + (from_notice ? " from notice" : ""), "total") +
        Cell(OptionalMilliseconds(recovery.replay_ms), "apart") +
        Cell(OptionalMilliseconds(recovery.commit_ms)) + "</tr>\n";
  }
  html +=
      "</table></div>\n<p class=\"about\">From the loss to the new world, as seen by the survivor "
      "whose first step in it came first. Total is detect + agree + rewire + catch-up (until the "
      "training thread may compute again); replay is the torn step computed again, which any "
      "recovery must pay. Loss to commit is all the time between the two: besides these, what the "
      "survivor still had to compute of its own part, and the transfer to who joined meanwhile.";
  if (any_silent) {
    html +=
        " Of a worker that wasn\u2019t heard any more, detect begins with its last sign of life: "
        "most of it is the time for which it may be silent.";
  }
  if (any_from_notice) {
    html +=
        " A total \u201cfrom notice\u201d begins when a survivor noticed the loss and leaves out "
        "detect, which isn\u2019t known: don\u2019t compare it with the others.";
  }
  return html + "</p>\n";
}

std::string Joins(const RunReport& report) {
  if (report.joins.empty()) return "";
  std::string html = "<h2>Join</h2>\n<div class=\"wide\"><table>\n" +
                     HeaderRow({"joined", "first step", "process started at", "program ready after",
                                "state transfer", "state", "total"});
  for (const Join& join : report.joins) {
    html +=
        "<tr>" + Cell(join.rank >= 0 ? "Rank " + std::to_string(join.rank) : "A worker") +
        Cell(join.first_step > 0 ? FormatCount(static_cast<int64_t>(join.first_step)) : "\u2013") +
        Cell(FormatFixed(join.started_at_seconds, 2) + " s") +
        Cell(OptionalMilliseconds(join.boot_ms)) + Cell(OptionalMilliseconds(join.transfer_ms)) +
        Cell(FormatBytes(join.transfer_bytes)) +
        Cell(OptionalMilliseconds(join.total_ms), "total") + "</tr>\n";
  }
  return html +
         "</table></div>\n<p class=\"about\">From the start of the new process to its first step. "
         "The "
         "others train meanwhile.</p>\n";
}

std::string ConfigurationRow(std::string_view name, const std::string& value) {
  return "<tr><th scope=\"row\">" + EscapeHtml(name) + "</th>" + Cell(value) + "</tr>\n";
}

std::string Configuration(const RunReport& report) {
  std::string html = "<h2>Run</h2>\n<table class=\"configuration\">\n";
  html += ConfigurationRow("workers", std::to_string(report.ranks));
  std::string mode = report.mode;
  if (report.logical_shards > 0) {
    mode += ", " + Counted(report.logical_shards, "logical shard", "logical shards");
  }
  html += ConfigurationRow("mode", mode);
  html += ConfigurationRow("epochs", std::to_string(report.epochs) + " of " +
                                         Counted(report.samples, "sample", "samples"));
  html +=
      ConfigurationRow("batch", Counted(report.batch, "sample", "samples") + " over all workers");
  html += ConfigurationRow("steps", FormatCount(static_cast<int64_t>(report.planned_steps)));
  html += ConfigurationRow("seed", std::to_string(report.seed));
  if (report.final_loss) html += ConfigurationRow("last loss", FormatFixed(*report.final_loss, 4));
  html += ConfigurationRow(
      "samples counted from",
      Counted(static_cast<int64_t>(report.ledger.ledgers.size()), "ledger", "ledgers"));
  if (!report.weights_sha256.empty()) {
    html += "<tr><th scope=\"row\">weights, SHA-256</th><td><code>" +
            EscapeHtml(report.weights_sha256) + "</code></td></tr>\n";
  }
  if (!report.command.empty()) {
    html += "<tr><th scope=\"row\">command</th><td><code>" + EscapeHtml(report.command) +
            "</code></td></tr>\n";
  }
  return html + "</table>\n";
}

std::string Notes(const RunReport& report) {
  if (report.notes.empty()) return "";
  std::string html = "<h2>Notes</h2>\n<ul>\n";
  for (const std::string& note : report.notes) html += "<li>" + EscapeHtml(note) + "</li>\n";
  return html + "</ul>\n";
}

}  // namespace

std::string ReportHtml(const RunReport& report) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>Closeranks: report of a run</title>\n<style>";
  html += kCss;
  html += TimelineCss();
  html +=
      "</style>\n</head>\n<body>\n<main>\n<p class=\"name\">Closeranks, report of a run</p>\n<h1";
  if (!report.Sound()) html += " class=\"bad\"";
  html += ">" + EscapeHtml(Verdict(report)) + "</h1>\n";
  html += Results(report) + "<div class=\"wide\">" + TimelineSvg(report) + "</div>\n" +
          Recoveries(report) + Joins(report) + Configuration(report) + Notes(report);
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace closeranks::telemetry
