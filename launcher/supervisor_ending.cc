// How workers, their members' part and the whole run end, and what comes of it.
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "glog/logging.h"
#include "launcher/supervisor.h"
#include "telemetry/flight_recorder.h"
#include "telemetry/records.h"

namespace closeranks::launcher {
namespace {

// Within it the members here come to suspect those of a host that is lost.
constexpr Duration kOfOneSilence = std::chrono::seconds(1);

ExitResult ResultOf(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {info.si_status, 0};
  return {0, info.si_status};
}

// Whether its program made it end so, rather than somebody from outside.
bool IsByItself(const ExitResult& result) {
  if (result.out_of_memory) return true;
  switch (result.signal) {
    case 0:
      return result.code != 0;
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
      return true;
    default:
      return false;
  }
}

}  // namespace

int Supervisor::Worse(int a, int b) {
  return FindExitCode(b).severity > FindExitCode(a).severity ? b : a;
}

// Children that aren't workers are reaped too: as PID 1 this process inherits orphans.
void Supervisor::ReapAll() {
  siginfo_t info{};
  // Until it is reaped, a dead worker's number can't become another process's.
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    const auto dead = std::find_if(slots_.begin(), slots_.end(), [&](const auto& entry) {
      return entry.second.child != nullptr && entry.second.child->pid() == info.si_pid;
    });
    ExitResult result = ResultOf(info);
    if (dead != slots_.end()) OnDead(dead->second, &result);
    waitpid(info.si_pid, nullptr, 0);
    if (dead != slots_.end()) OnExit(dead->second, result);
    info = {};
  }
}

void Supervisor::OnDead(Slot& slot, ExitResult* result) {
  rendezvous::Agent& agent = *host_->agent(slot.member);
  // Its last words may tell more than its exit.
  slot.child->ReadOutput();
  agent.ReadLastWords();
  const bool may_be_the_kernels = result->signal == SIGKILL && slot.ended_for.empty();
  result->out_of_memory = may_be_the_kernels && oom_watch_.TakeKill();
  // That nobody is left who has the state may follow from it, and isn't what is to be told.
  if (IsByItself(*result) && !telemetry::FlightPart(slot.flight).IsNone() &&
      (EndsEarly(slot) || agent.worker_left_early())) {
    TellLoss(slot, CauseOf(slot, *result), /*by_itself=*/true, rendezvous::OnThisHost::kTheCause);
  }
  // The survivors come first: what else is said and written of it can wait.
  agent.WorkerReaped();
}

void Supervisor::OnExit(Slot& slot, ExitResult result) {
  if (slot.lost_at == TimePoint{}) slot.lost_at = clock_.Now();
  DropLifelines(slot);
  slot.child->Reaped();
  const Status not_executed = slot.child->failure();
  slot.child.reset();
  if (!not_executed.ok()) {
    if (!stopping_ && !slot.ending.has_value()) return OnNotExecuted(slot, not_executed);
    result = {static_cast<int>(ExitCode::kLeft), 0};
  }
  const std::string end = result.ToString() + telemetry::FlightPosition(slot.flight);
  bool in_order = result.signal == 0 && result.code == 0;
  const bool early = EndsEarly(slot);
  slot.never_joined = in_order && early && !slot.asked_in && !host_->has_started();
  if (early && !slot.never_joined) {
    TellLoss(slot, CauseOf(slot, result), IsByItself(result), rendezvous::OnThisHost::kTheCause);
  }
  if (!slot.cause.empty()) {
    DumpFlightsOfLoss(slot, "");
    DumpFlightLater(slot);
  }
  telemetry::WorkerExitEvent exit;
  exit.member = slot.member;
  if (!slot.incarnation.IsNone()) exit.incarnation = slot.incarnation.ToString();
  exit.code = result.signal == 0 ? result.code : -1;
  exit.signal = result.signal;
  exit.ended_for = slot.ended_for;
  exit.cause = slot.cause;
  exit.t_lost = slot.lost_at;
  exit.t_heard = slot.heard_at;
  events_->Write(ToRecord(exit));
  bool premature = in_order && early && !slot.never_joined;
  RestartPolicy::Verdict verdict;
  if (early) verdict = slot.policy.OnExit(clock_.Now(), result);
  if (premature) {
    LOG(WARNING) << "the worker of member " << slot.member
                 << " ended with exit code 0 before the job's end";
  } else if (result.signal == 0 && result.code == static_cast<int>(ExitCode::kLeft)) {
    LOG(INFO) << "the worker of member " << slot.member << " has ended, as it was told to";
  } else if (!in_order) {
    LOG(WARNING) << "the worker of member " << slot.member << " " << end
                 << (verdict.reason.empty() ? "" : "; " + verdict.reason);
  }
  if (verdict.restart && !job_ended_) {
    StartLater(slot, verdict.delay);
    return;
  }
  slot.finished = true;
  if (premature) {
    slot.exit_code = static_cast<int>(ExitCode::kError);
  } else if (!verdict.restart) {  // one that has nothing to be started again for is done
    slot.exit_code = FinalCode(slot, result, early);
  }
  slot.never_joined ? CheckStart() : GiveUpStart(slot, "");
}

bool Supervisor::EndsEarly(const Slot& slot) const {
  const rendezvous::Agent& agent = *host_->agent(slot.member);
  // The others may have come to the job's end between its last sign of life and now.
  return !stopping_ && !slot.ending.has_value() && !agent.worker_leaves() &&
         (agent.worker_left_early() || (!job_ended_ && !agent.worker_was_told()));
}

void Supervisor::TellLoss(Slot& slot, const std::string& cause, bool by_itself,
                          rendezvous::OnThisHost here) {
  if (!slot.cause.empty()) return;
  slot.cause = cause;
  // Who is told to leave may fail for that.
  const bool counts = by_itself && !stopping_ && !host_->agent(slot.member)->worker_leaves();
  const BatchPart part = counts ? telemetry::FlightPart(slot.flight) : BatchPart{};
  host_->TellLoss(slot.member, {cause, slot.incarnation, part}, here);
  if (!part.IsNone()) OnFailedPart({slot.member, slot.incarnation}, part);
}

bool Supervisor::MayBePoison(const Slot& dying) const {
  const BatchPart part = telemetry::FlightPart(dying.flight);
  if (part.IsNone()) return false;
  if (poison_watch_.IsSuspect(part)) return true;
  // How another one ends may not be known yet either.
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& entry) {
    const Slot& other = entry.second;
    return &other != &dying && other.child != nullptr && other.lost_at != TimePoint{} &&
           telemetry::FlightPart(other.flight).Overlaps(part);
  });
}

void Supervisor::OnFailedPart(const MemberProcess& worker, const BatchPart& part) {
  const std::optional<std::string> poison = poison_watch_.OnFailedPart(worker, part);
  if (!poison.has_value() || job_ended_ || stopping_ || std::exchange(is_poisoned_, true)) return;
  const std::string text = *poison + "; the job ends here: mend the samples or the program";
  LOG(ERROR) << text;
  for (auto& [member, slot] : slots_) {
    host_->agent(member)->EndWorker(ExitCode::kPoison, text);
    EndMember(slot, ExitCode::kPoison);
    // Another host may have taken longer to tell how its worker ended than to lose the state.
    slot.exit_code = Worse(slot.exit_code, static_cast<int>(ExitCode::kPoison));
  }
}

// What no restart mends often happens to all workers at once, as when a flag is wrong. Here it is
// said once, by the first of them.
MemberId Supervisor::OnFailing(Slot& slot, const rendezvous::Failing& failing) {
  using rendezvous::OnThisHost;
  const std::string cause = failing.cause + telemetry::FlightPosition(slot.flight);
  DumpFlightsOfLoss(slot, "");
  if (!failing.is_final) {
    TellLoss(slot, cause, /*by_itself=*/true, OnThisHost::kTheCause);
    return -1;
  }
  const MemberId first = failed_for_good_.try_emplace(failing.cause, slot.member).first->second;
  TellLoss(slot, cause, /*by_itself=*/true,
           first == slot.member ? OnThisHost::kThatItIsSaid : OnThisHost::kNothing);
  return first;
}

std::string Supervisor::CauseOf(const Slot& slot, const ExitResult& result) {
  const std::string position = telemetry::FlightPosition(slot.flight);
  if (!slot.ended_for.empty()) return "was ended" + position + ": " + slot.ended_for;
  const std::string end = result.ToString() + position;
  // It may have said why. Who was killed by another had other things to say.
  const bool may_have_said = result.signal == SIGABRT || (result.signal == 0 && result.code != 0);
  return may_have_said && !slot.last_line.empty() ? end + ": " + slot.last_line : end;
}

void Supervisor::GiveUpStart(const Slot& gone, const std::string& why) {
  if (!CanStillStart()) return;
  bool is_said = false;
  for (auto& [member, slot] : slots_) {
    if (slot.finished || slot.ending.has_value()) continue;
    if (!std::exchange(is_said, true)) {
      LOG(ERROR) << "ending the other workers, as the job can't start without member "
                 << gone.member << why;
    }
    EndMember(slot, ExitCode::kLeft);
    if (slot.child != nullptr) slot.child->Signal(SIGTERM);
  }
}

void Supervisor::CheckStart() {
  Slot* absent = nullptr;
  bool somebody_waits = false;
  for (auto& [member, slot] : slots_) {
    if (slot.never_joined && absent == nullptr) absent = &slot;
    somebody_waits = somebody_waits || (slot.asked_in && !slot.finished);
  }
  if (absent == nullptr || !somebody_waits || !CanStillStart()) return;
  absent->exit_code = static_cast<int>(ExitCode::kError);
  GiveUpStart(*absent, ", whose worker (RANK=" + std::to_string(absent->member) +
                           ") ended with exit code 0 before it joined; let the program join on "
                           "every rank, or start fewer of them (-n)");
}

int Supervisor::FinalCode(const Slot& slot, const ExitResult& result, bool early) const {
  if (slot.ending.has_value()) {
    // Whom another start took over ends by itself; that nobody is left who has the state follows
    // from that.
    const int replaced = static_cast<int>(ExitCode::kReplaced);
    if (result.signal == 0 && result.code == replaced) return replaced;
    // The worker needn't have heard of it, or not of all of it; and what it found may be worse.
    const int ending = static_cast<int>(*slot.ending);
    return result.signal == 0 ? Worse(ending, result.code) : ending;
  }
  if (result.signal == 0) return result.code;
  const bool leaves = stopping_ || host_->agent(slot.member)->worker_leaves();
  // A worker that was killed once the job's end was agreed on lost nothing.
  if (job_ended_ && !early && !leaves) return static_cast<int>(ExitCode::kOk);
  return static_cast<int>(leaves ? ExitCode::kLeft : ExitCode::kError);
}

void Supervisor::OnSuspicion(MemberId member, MemberId peer, TimePoint heard) {
  const TimePoint now = clock_.Now();
  events_->Write(ToRecord(telemetry::SuspectedEvent{member, peer, heard}), now);
  // Each member here suspects each member there; people hear of the host once.
  for (const std::vector<MemberId>& host : options_.host.peers) {
    if (std::find(host.begin(), host.end(), peer) != host.end()) peer = host.front();
  }
  const TimePoint told = std::exchange(suspicions_told_[peer], now);
  if (told != TimePoint{} && now - told < kOfOneSilence) return;
  LOG(WARNING) << "the supervisor of member " << peer << " is taken for lost: nothing came from it "
               << "for " << static_cast<int>(ToMilliseconds(now - heard)) << " ms";
  DumpFlightsLater(Incident::kLostHost,
                   "the supervisor of member " + std::to_string(peer) + " is silent");
}

void Supervisor::OnEnding(MemberId member, const rendezvous::Agent::Ending& ending) {
  if (ending.outcome == rendezvous::Outcome::kLeft) {
    LOG(INFO) << "member " << member << " has left the job";
    return EndMember(slots_.at(member), ending.exit_code);
  }
  if (ending.outcome != rendezvous::Outcome::kEnded) {
    if (stopping_ || is_poisoned_) return;  // it ends as it was told to
    const ExitCodeRow& row = FindExitCode(static_cast<int>(ending.exit_code));
    std::string text = std::string(rendezvous::OutcomeName(ending.outcome)) + ": " + ending.reason;
    // What a worker that failed for good has said of it is to be mended, and no start mends that.
    const bool is_told =
        ending.outcome == rendezvous::Outcome::kStateLost && !failed_for_good_.empty();
    if (!row.remedy.empty() && !is_told) text += "; " + std::string(row.remedy);
    // Members that end alike are told of once.
    if (told_endings_.insert(text).second) LOG(ERROR) << "member " << member << ": " << text;
    if (ending.outcome == rendezvous::Outcome::kQuorumLost) {
      DumpFlights(Incident::kLostHost, "the quorum is lost");
    }
    EndMember(slots_.at(member), ending.exit_code);
    return;
  }
  if (std::exchange(job_ended_, true)) return;
  for (auto& [id, slot] : slots_) {
    // Whose part had ended before ends by itself.
    if (slot.finished || slot.ending.has_value()) continue;
    if (slot.child == nullptr) {
      // It waits to be started again, and has nothing to be started for.
      loop_.Cancel(slot.restart);
      slot.finished = true;
    } else if (host_->agent(id)->worker_left_early() ||
               (host_->agent(id)->rank() >= 0 &&
                !host_->agent(id)->membership().worker_is_done())) {
      // It is ending by itself, and how is to be seen: it never wanted to go on, or finds that the
      // others have come to the end without it, unless it hangs.
      EndLater(slot);
    } else if (host_->agent(id)->rank() < 0 && !host_->agent(id)->worker_leaves()) {
      LOG(INFO) << "ending the worker of member " << id << ": the job ended before it was in";
      slot.child->Signal(SIGKILL);
    }
  }
}

// Before the first world nothing is lost by ending, and waiting doesn't mend it; a job that trains
// goes on without the one that differs.
void Supervisor::OnMismatch(const Status& mismatch) {
  if (host_ == nullptr || host_->has_started()) return;
  LOG(ERROR) << mismatch.message() << "; "
             << FindExitCode(static_cast<int>(ExitCode::kMismatch)).remedy;
  for (auto& [member, slot] : slots_) {
    EndMember(slot, ExitCode::kMismatch);
    if (slot.child != nullptr) slot.child->Signal(SIGKILL);
  }
}

void Supervisor::EndMember(Slot& slot, ExitCode code) {
  if (slot.finished) return;
  slot.ending = code;
  if (slot.child == nullptr) {
    loop_.Cancel(slot.restart);
    slot.finished = true;
    slot.exit_code = static_cast<int>(code);
    return;
  }
  EndLater(slot);
}

void Supervisor::EndLater(Slot& slot) {
  loop_.RunAfter(options_.grace, [this, &slot] { EndWorker(slot, "it didn't end by itself"); });
}

void Supervisor::EndWorker(Slot& slot, const std::string& reason, TimePoint heard) {
  if (slot.child == nullptr) return;
  LOG(WARNING) << "ending the worker of member " << slot.member << ": " << reason;
  slot.child->Signal(SIGKILL);
  if (slot.lost_at == TimePoint{}) {
    slot.lost_at = clock_.Now();
    slot.ended_for = reason;
    slot.heard_at = heard;
  }
  if (heard != TimePoint{}) {
    DumpFlightsOfLoss(slot, "member " + std::to_string(slot.member) + " is silent");
  }
}

// Nothing is said of it: how it ended is, when it is reaped.
void Supervisor::FinishOff(Slot& slot) {
  if (slot.child == nullptr) return;
  slot.child->Signal(SIGKILL);
  if (slot.lost_at == TimePoint{}) slot.lost_at = clock_.Now();
}

void Supervisor::StopAll(int signal) {
  const bool is_first = !std::exchange(stopping_, true);
  if (is_first) {
    LOG(INFO) << "stopping: signal " << signal;
    loop_.RunAfter(options_.grace, [this] {
      for (auto& [member, slot] : slots_) EndWorker(slot, "it was told to leave, and didn't");
    });
  }
  for (auto& [member, slot] : slots_) {
    loop_.Cancel(slot.restart);
    if (slot.child != nullptr) {
      // Who sends SIGTERM to a whole group, as timeout does, may well send it twice.
      if (is_first && (signal == SIGTERM || signal == SIGINT)) {
        AskToLeave(slot, signal);
      } else if (signal != SIGTERM) {
        slot.child->Signal(signal == SIGINT ? SIGKILL : signal);
      }
    } else if (!slot.finished) {
      slot.finished = true;
      slot.exit_code = static_cast<int>(ExitCode::kLeft);
      host_->agent(member)->Leave();
    }
  }
}

// By a message rather than by the signal: a terminal's Ctrl-C reaches the workers too, and twice is
// once too often. Who hasn't asked to be let in has nothing to hand over, and ends by the signal.
void Supervisor::AskToLeave(Slot& slot, int signal) {
  if (slot.asked_in) {
    host_->agent(slot.member)->AskWorkerToLeave(options_.grace);
  } else {
    slot.child->Signal(signal);
    // An earlier worker may have been in it: the member still votes.
    host_->agent(slot.member)->Leave();
  }
}

}  // namespace closeranks::launcher
