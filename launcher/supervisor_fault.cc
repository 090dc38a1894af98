// Killing ranks on purpose: --kill.
#include <csignal>
#include <utility>

#include "launcher/supervisor.h"
#include "telemetry/records.h"

namespace closeranks::launcher {

void Supervisor::OnProgress(const rendezvous::Progress& progress) {
  TimePoint now = clock_.Now();
  if (options_.live_line) live_.OnProgress(now, progress);
  if (!aim_.has_value()) return;
  if (progress.committed) {
    aim_->OnCommit(now, progress.step);
  } else if (auto delay = aim_->OnBegin(now, progress.rank, progress.step, progress.steps)) {
    // Posted, so that commits that came before are read before.
    loop_.RunAfter(*delay, [this] { loop_.Post([this] { InjectFault(); }); });
  }
}

void Supervisor::InjectFault() {
  std::optional<StepNumber> step = aim_->Strike();
  if (!step.has_value()) return;
  // Who has which rank is settled before the first is killed.
  std::vector<std::pair<int, Slot*>> targets;
  for (int rank : aim_->fault().ranks) {
    for (auto& [member, slot] : slots_) {
      if (slot.child != nullptr && host_->agent(member)->rank() == rank) {
        targets.emplace_back(rank, &slot);
      }
    }
  }
  std::vector<telemetry::KillEvent> kills;
  for (auto& [rank, slot] : targets) {
    kills.push_back({slot->member, rank, *step, clock_.Now()});
    slot->child->Signal(SIGKILL);
  }
  kills_ = kills.size();
  for (const telemetry::KillEvent& kill : kills) {
    events_->Write(ToRecord(kill), kill.t);
    live_.WriteThrough(out_, "killed rank " + std::to_string(kill.rank) + " (member " +
                                 std::to_string(kill.member) + ") in step " +
                                 std::to_string(kill.step));
  }
}

std::string Supervisor::MissedKills() const {
  if (!aim_.has_value() || kills_ == aim_->fault().ranks.size()) return "";
  // Once the moment has come, it is for another host's supervisor to find its ranks.
  if (aim_->was_due() && !options_.host.peers.empty()) return "";
  return "--kill=" + aim_->fault().text + ": " + std::to_string(kills_) + " of " +
         std::to_string(aim_->fault().ranks.size()) +
         " ranks were killed, and the run ended after step " + std::to_string(aim_->committed()) +
         "; name a step and ranks that the run has";
}

}  // namespace closeranks::launcher
