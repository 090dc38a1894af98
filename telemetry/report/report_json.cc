#include "telemetry/report/report_json.h"

#include <cmath>
#include <optional>

#include "nlohmann/json.hpp"
#include "telemetry/report/verdict.h"

namespace closeranks::telemetry {
namespace {

using Json = nlohmann::ordered_json;

// Finer than any clock here measures; more digits would only be noise in the file.
double Rounded(double value) { return std::round(value * 1e6) / 1e6; }

Json OrNull(const std::optional<double>& value) { return value ? Json(Rounded(*value)) : Json(); }

Json OrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json RankOrNull(int rank) { return rank >= 0 ? Json(rank) : Json(); }

Json ToJson(const Recovery& recovery) {
  return {{"generation", recovery.generation},
          {"lost_ranks", recovery.lost_ranks},
          {"lost_members", recovery.lost_members},
          {"survivors", recovery.survivors},
          {"timed_from", LossTimedFromName(recovery.timed_from)},
          {"ended_for", OrNull(recovery.ended_for)},
          {"cause", OrNull(recovery.cause)},
          {"step", recovery.torn_step},
          {"at_seconds", Rounded(recovery.at_seconds)},
          {"detect_ms", Rounded(recovery.detect_ms)},
          {"agree_ms", Rounded(recovery.agree_ms)},
          {"rewire_ms", Rounded(recovery.rewire_ms)},
          {"catch_up_ms", Rounded(recovery.catch_up_ms)},
          {"total_ms", Rounded(recovery.total_ms)},
          {"replay_ms", OrNull(recovery.replay_ms)},
          {"commit_ms", OrNull(recovery.commit_ms)}};
}

// The exit code or the signal; the other one is null.
Json ToJson(const AbnormalExit& exit) {
  bool by_signal = exit.signal != 0;
  return {{"rank", RankOrNull(exit.rank)},
          {"member", exit.member},
          {"exit_code", by_signal ? Json() : Json(exit.code)},
          {"signal", by_signal ? Json(exit.signal) : Json()},
          {"ended_for", OrNull(exit.ended_for)},
          {"at_seconds", Rounded(exit.at_seconds)}};
}

Json ToJson(const UnansweredKill& kill, bool went_on) {
  return {{"rank", RankOrNull(kill.rank)},
          {"member", kill.member},
          {"step", kill.step},
          {"at_seconds", Rounded(kill.at_seconds)},
          {"run_went_on", went_on}};
}

Json ToJson(const Join& join) {
  return {{"generation", join.generation},
          {"rank", join.rank},
          {"member", join.member},
          {"first_step", join.first_step},
          {"started_at_seconds", Rounded(join.started_at_seconds)},
          {"joined_at_seconds", Rounded(join.joined_at_seconds)},
          {"boot_ms", OrNull(join.boot_ms)},
          {"transfer_ms", OrNull(join.transfer_ms)},
          {"transfer_bytes", join.transfer_bytes},
          {"total_ms", OrNull(join.total_ms)}};
}

// The three charts, as columns.
Json SeriesJson(const RunReport& report) {
  Json steps = Json::array(), seconds = Json::array(), losses = Json::array();
  for (const LossPoint& point : report.loss) {
    steps.push_back(point.step);
    seconds.push_back(Rounded(point.at_seconds));
    losses.push_back(Rounded(point.loss));
  }
  Json rates = Json::array(), world = Json::array();
  for (const ThroughputBin& bin : report.throughput) {
    rates.push_back(Rounded(bin.samples_per_second));
  }
  for (const WorldSizePoint& point : report.world_sizes) {
    world.push_back({{"at_seconds", Rounded(point.at_seconds)}, {"size", point.size}});
  }
  return {{"loss", {{"step", steps}, {"at_seconds", seconds}, {"loss", losses}}},
          {"samples_per_second", {{"bin_seconds", report.bin_seconds}, {"bins", rates}}},
          {"world_size", world}};
}

}  // namespace

std::string ReportJson(const RunReport& report) {
  const LedgerCount& ledger = report.ledger;
  Json json = {{"verdict", Verdict(report)},
               {"sound", report.Sound()},
               {"ranks", report.ranks},
               {"mode", report.mode},
               {"epochs", report.epochs},
               {"steps", report.steps},
               {"planned_steps", report.planned_steps},
               {"batch", report.batch},
               {"samples", report.samples},
               {"logical_shards", report.logical_shards},
               {"seed", report.seed},
               {"command", report.command},
               {"test_accuracy", OrNull(report.test_accuracy)},
               {"final_loss", OrNull(report.final_loss)},
               {"samples_expected", ledger.samples_expected},
               {"samples_consumed", ledger.samples_consumed},
               {"samples_lost", ledger.samples_lost},
               {"samples_duplicated", ledger.samples_duplicated},
               {"samples_out_of_range", ledger.out_of_range},
               {"ledgers", ledger.ledgers.size()},
               {"ledger_conflicts", ledger.conflicts.size()},
               {"weights_sha256", report.weights_sha256},
               {"weights_agree", report.weights_agree},
               {"workers_at_end", report.workers_at_end},
               {"seconds", Rounded(report.seconds)},
               {"steps_per_second", Rounded(report.steps_per_second)},
               {"samples_per_second", Rounded(report.samples_per_second)}};
  Json& recoveries = json["recoveries"] = Json::array();
  for (const Recovery& recovery : report.recoveries) recoveries.push_back(ToJson(recovery));
  Json& kills = json["unanswered_kills"] = Json::array();
  if (report.unanswered_kills) {
    for (const UnansweredKill& kill : report.unanswered_kills->kills) {
      kills.push_back(ToJson(kill, report.unanswered_kills->went_on));
    }
  }
  Json& exits = json["abnormal_exits"] = Json::array();
  for (const AbnormalExit& exit : report.abnormal_exits) exits.push_back(ToJson(exit));
  Json& joins = json["joins"] = Json::array();
  for (const Join& join : report.joins) joins.push_back(ToJson(join));
  json["notes"] = report.notes;
  json["series"] = SeriesJson(report);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace closeranks::telemetry
