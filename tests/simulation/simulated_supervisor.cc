#include "tests/simulation/simulated_supervisor.h"

#include <chrono>
#include <utility>

#include "glog/logging.h"
#include "net/link.h"

namespace closeranks::simulation {
namespace {

constexpr int kMostStarts = 8;
// From a worker's end to its parent's knowing.
constexpr Duration kSlowestReaping = std::chrono::milliseconds(3);
constexpr Duration kSlowestRestart = std::chrono::milliseconds(40);
// As the launcher's: others may ask for the job's end for so long.
constexpr Duration kLinger = std::chrono::seconds(5);

}  // namespace

SimulatedSupervisor::SimulatedSupervisor(SimulatedWorker::Surroundings surroundings,
                                         std::string host, int start,
                                         rendezvous::AgentHost::Options options)
    : surroundings_(std::move(surroundings)),
      start_(start),
      members_(options.members),
      process_(surroundings_.fabric.world()),
      network_(surroundings_.fabric, process_, std::move(host)),
      loop_(surroundings_.fabric, process_),
      random_(process_.world().random().Next()) {
  for (MemberId member : members_) slots_[member];
  auto credentials = rendezvous::Credentials::Open(loop_, surroundings_.disk,
                                                   {.keys = {"the key of a simulated job"}});
  CHECK(credentials.ok()) << credentials.status();
  credentials_ = *std::move(credentials);
  options.credentials = credentials_.get();
  const bool is_witness = options.membership.witness;
  auto agents = rendezvous::AgentHost::Open(loop_, network_, random_, std::move(options),
                                            [this](MemberId member) { return OwnerOf(member); });
  CHECK(agents.ok()) << agents.status();
  agents_ = *std::move(agents);
  for (MemberId member : members_) {
    if (!is_witness) StartWorker(member);
  }
}

SimulatedSupervisor::~SimulatedSupervisor() { Kill(); }

SimulatedWorker* SimulatedSupervisor::worker(MemberId member) {
  const auto slot = slots_.find(member);
  return slot == slots_.end() ? nullptr : slot->second.worker.get();
}

void SimulatedSupervisor::Kill() {
  for (auto& [member, slot] : slots_) {
    if (slot.worker != nullptr) slot.worker->Kill();
  }
  if (is_alive()) surroundings_.fabric.Kill(process_);
}

rendezvous::Agent::Owner SimulatedSupervisor::OwnerOf(MemberId member) {
  rendezvous::Agent::Owner owner;
  owner.kill_worker = [this, member](const std::string&, TimePoint) { KillWorker(member); };
  owner.on_hung_up = [this, member] { KillWorker(member); };
  owner.on_progress = [](const rendezvous::Progress&) {};
  owner.on_hello = [](const rendezvous::Hello&) {};
  owner.on_ready = [] {};
  owner.on_lifeline = [](auto&&) {};
  owner.on_flight_memory = [](std::unique_ptr<net::Socket>) {};
  owner.on_timeout = [] {};
  owner.on_notice = [](const rendezvous::Notice&) {};
  owner.on_outcome = [this, member](const rendezvous::Agent::Ending& ending) {
    OnEnding(member, ending);
  };
  return owner;
}

void SimulatedSupervisor::StartWorker(MemberId member) {
  Slot& slot = slots_.at(member);
  const int start = slot.starts++;
  slot.worker = std::make_unique<SimulatedWorker>(
      surroundings_, host(), member, 100 * start_ + start, network_,
      [this, member, start](ExitCode code) {
        // Its process's event; the supervisor's own comes when it reaps.
        process_.RunAfter(process_.world().DrawBetween(Duration::zero(), kSlowestReaping),
                          [this, member, start, code] { OnExit(member, start, code); });
      });
  agents_->agent(member)->AttachWorker(
      std::make_unique<net::Link>(loop_, slot.worker->TakeAgentEnd()));
}

void SimulatedSupervisor::TellToLeave(MemberId member, Duration grace) {
  const int start = slots_.at(member).starts - 1;
  agents_->agent(member)->AskWorkerToLeave(grace);
  process_.RunAfter(grace, [this, member, start] {
    if (start == slots_.at(member).starts - 1) KillWorker(member);
  });
}

void SimulatedSupervisor::KillWorker(MemberId member) {
  Slot& slot = slots_.at(member);
  if (slot.worker == nullptr || !slot.worker->is_alive()) return;
  slot.worker->Kill();
  OnWorkerKilled(member);
}

void SimulatedSupervisor::OnWorkerKilled(MemberId member) {
  const int start = slots_.at(member).starts - 1;
  process_.RunAfter(process_.world().DrawBetween(Duration::zero(), kSlowestReaping),
                    [this, member, start] { OnExit(member, start, std::nullopt); });
}

void SimulatedSupervisor::OnExit(MemberId member, int start, std::optional<ExitCode> code) {
  Slot& slot = slots_.at(member);
  if (slot.worker == nullptr || start != slot.starts - 1) return;
  rendezvous::Agent& agent = *agents_->agent(member);
  agent.WorkerReaped();
  slot.worker.reset();
  const bool early = !slot.ending.has_value() && !agent.worker_leaves() &&
                     (agent.worker_left_early() || (!job_ended_ && !agent.worker_was_told()));
  const bool is_hopeless = code.has_value() && !FindExitCode(static_cast<int>(*code)).restart;
  if (early && !is_hopeless && !job_ended_ && slot.starts < kMostStarts) {
    process_.RunAfter(process_.world().DrawBetween(Duration::zero(), kSlowestRestart),
                      [this, member] {
                        if (!job_ended_ && !slots_.at(member).finished) StartWorker(member);
                      });
    return;
  }
  slot.finished = true;
  slot.exit_code = slot.ending.value_or(code.value_or(ExitCode::kError));
  FinishWhenDone();
}

void SimulatedSupervisor::OnEnding(MemberId member, const rendezvous::Agent::Ending& ending) {
  if (ending.outcome == rendezvous::Outcome::kEnded) job_ended_ = true;
  for (auto& [id, slot] : slots_) {
    if (id != member && !job_ended_) continue;
    if (!slot.ending.has_value()) slot.ending = ending.exit_code;
    if (slot.worker == nullptr && !slot.finished) {
      slot.finished = true;
      slot.exit_code = *slot.ending;
    } else if (slot.worker != nullptr && job_ended_ && agents_->agent(id)->rank() < 0) {
      // It isn't in the job, and nothing would end it.
      process_.RunAfter(Duration::zero(), [this, id = id] { KillWorker(id); });
    }
  }
  // Not from within the agent.
  process_.RunAfter(Duration::zero(), [this] { FinishWhenDone(); });
}

void SimulatedSupervisor::FinishWhenDone() {
  for (const auto& [member, slot] : slots_) {
    if (!slot.finished) return;
  }
  if (!std::exchange(is_finishing_, true)) {
    // As the launcher does: else its going could leave the others without a quorum.
    if (agents_->has_started() && !job_ended_) {
      for (MemberId member : members_) agents_->agent(member)->Leave();
    }
    process_.RunAfter(kLinger, [this] { has_ended_ = true; });
  }
  if (has_ended_) return;
  if (agents_->MayGo()) {
    agents_->HangUp();
    if (!agents_->HasLinks()) {
      has_ended_ = true;
      return;
    }
  }
  process_.RunAfter(std::chrono::milliseconds(1), [this] { FinishWhenDone(); });
}

std::vector<ExitCode> SimulatedSupervisor::exit_codes() const {
  std::vector<ExitCode> codes;
  for (const auto& [member, slot] : slots_) codes.push_back(slot.exit_code);
  return codes;
}

}  // namespace closeranks::simulation
