#include "launcher/supervisor.h"

#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <utility>

#include "base/open_files.h"
#include "closeranks/environment.h"
#include "glog/logging.h"
#include "launcher/descriptor_budget.h"
#include "net/link.h"
#include "net/system_socket.h"
#include "telemetry/records.h"

namespace closeranks::launcher {
namespace {

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  // What nohup has ignored is to stay so.
  struct sigaction hang_up {};
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP);
  return set;
}

ExitResult FromWaitStatus(int status) {
  if (WIFSIGNALED(status)) return {0, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

// A full disk may be mended; a folder that can't be written is the wrong one. One that another run
// writes is like a port that is taken.
Status ReportStatus(const std::string& folder, const Status& why) {
  if (why.code() == StatusCode::kAborted) {
    return ResourceExhausted("--report=" + folder +
                             ": another run that is still going writes its records there; wait "
                             "for its end, or choose another folder (each host needs its own)");
  }
  std::string message =
      "--report=" + folder + ": " + why.message() + "; choose a folder that can be written";
  if (why.code() == StatusCode::kResourceExhausted) return ResourceExhausted(std::move(message));
  return InvalidArgument(std::move(message));
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// Of two exit codes, the one of the higher severity.
int Worse(int a, int b) { return FindExitCode(b).severity > FindExitCode(a).severity ? b : a; }

}  // namespace

Supervisor::Supervisor(Options options, const Clock& clock, Random& random, Files& files)
    : options_(std::move(options)),
      clock_(clock),
      files_(files),
      loop_(clock),
      random_(random),
      live_(stdout, isatty(STDOUT_FILENO) != 0, options_.host.starting_members),
      events_(std::make_unique<telemetry::EventLog>()) {
  if (options_.fault.has_value()) aim_.emplace(*options_.fault);
}

Supervisor::~Supervisor() = default;

Result<int> Supervisor::Run() {
  sigset_t handled = HandledSignals();
  sigset_t before;
  sigprocmask(SIG_BLOCK, &handled, &before);
  std::signal(SIGPIPE, SIG_IGN);  // for good: what is still in a buffer is written at exit
  worker_open_files_ = RaiseOpenFilesLimit();
  Status prepared = Prepare();
  while (prepared.ok() && !AllFinished()) loop_.PollOnce(Duration::max());
  if (prepared.ok()) HangUp();
  live_.End();
  bool nobody_joined = !slots_.empty();
  int worst = static_cast<int>(ExitCode::kOk);
  for (const auto& [member, slot] : slots_) {
    worst = Worse(worst, slot.exit_code);
    nobody_joined = nobody_joined && slot.never_joined;
  }
  // What was to be seen wasn't there to be seen.
  const std::string missed = MissedKills();
  if (prepared.ok() && !nobody_joined && worst == static_cast<int>(ExitCode::kOk) &&
      !missed.empty()) {
    LOG(ERROR) << missed;
    worst = static_cast<int>(ExitCode::kUsage);
  }
  if (nobody_joined) {
    LOG(WARNING) << "every worker ended with exit code 0, and none joined a job: was "
                 << options_.command.front() << " meant to train with Closeranks?";
  }
  slots_.clear();  // ends what is still running
  SetOpenFilesLimit(worker_open_files_);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  RETURN_IF_ERROR(prepared);
  events_->Write(ToRecord(telemetry::SupervisorEndEvent{worst}));
  return worst;
}

Status Supervisor::Prepare() {
  if (!options_.report_folder.empty()) {
    const std::string& folder = options_.report_folder;
    auto prepared = telemetry::PrepareReportFolder(files_, folder, options_.keep_ledgers);
    if (!prepared.ok()) return ReportStatus(folder, prepared.status());
    report_lock_ = *std::move(prepared);
    auto events =
        telemetry::EventLog::Open(files_, telemetry::SupervisorEventsPath(folder), clock_);
    if (!events.ok()) return ReportStatus(folder, events.status());
    events_ = *std::move(events);
  }
  sigset_t handled = HandledSignals();
  signals_ = UniqueFd(signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_) return ErrnoStatus(errno, "taking over signals");
  RETURN_IF_ERROR(
      loop_.Watch(signals_.get(), {.readable = true}, [this](net::Ready) { OnSignal(); }));
  ASSIGN_OR_RETURN(
      options_.host.max_strangers,
      DescriptorsForStrangers(OpenFilesLimit(), CountOpenFiles(), options_.host.members.size(),
                              options_.host.peers.size()));
  ASSIGN_OR_RETURN(host_, rendezvous::AgentHost::Open(
                              loop_, network_, random_, options_.host,
                              [this](MemberId member) { return OwnerOf(member); },
                              [this](const Status& why) { OnMismatch(why); }));
  events_->Write(ToRecord(telemetry::RunEvent{Joined(options_.command),
                                              static_cast<int>(options_.host.starting_members)}));
  for (MemberId member : options_.host.members) {
    slots_.try_emplace(member, member, options_.restarts);
  }
  for (auto& [member, slot] : slots_) RETURN_IF_ERROR(StartWorker(slot));
  return OkStatus();
}

rendezvous::Agent::Owner Supervisor::OwnerOf(MemberId member) {
  rendezvous::Agent::Owner owner;
  owner.kill_worker = [this, member](const std::string& reason, TimePoint heard) {
    EndWorker(slots_.at(member), reason, heard);
  };
  owner.on_hung_up = [this, member] { FinishOff(slots_.at(member)); };
  owner.on_progress = [this](const rendezvous::Progress& progress) { OnProgress(progress); };
  owner.on_hello = [this, member](const rendezvous::Hello& hello) {
    Slot& slot = slots_.at(member);
    slot.incarnation = hello.worker.ToString();
  };
  owner.on_ready = [this, member] {
    slots_.at(member).asked_in = true;
    CheckStart();
  };
  owner.on_lifeline = [this, member](std::unique_ptr<net::Socket> lifeline) {
    OnLifeline(slots_.at(member), std::move(lifeline));
  };
  owner.on_outcome = [this, member](const rendezvous::Agent::Ending& ending) {
    OnEnding(member, ending);
  };
  return owner;
}

Status Supervisor::StartWorker(Slot& slot) {
  Status started = LaunchWorker(slot);
  if (started.code() != StatusCode::kResourceExhausted) return started;
  RestartPolicy::Verdict verdict = slot.policy.OnShortage(clock_.Now());
  std::string what = "the worker of member " + std::to_string(slot.member) +
                     " can't be started: " + started.message() + "; " + verdict.reason;
  if (!verdict.restart) return ResourceExhausted(std::move(what));
  LOG(WARNING) << what;
  StartLater(slot, verdict.delay);
  return OkStatus();
}

void Supervisor::StartLater(Slot& slot, Duration delay) {
  slot.restart = loop_.RunAfter(delay, [this, &slot] {
    Status started = StartWorker(slot);
    if (started.ok()) return;
    LOG(ERROR) << started;
    slot.finished = true;
    slot.exit_code = static_cast<int>(ExitCodeFor(started));
    GiveUpStart(slot, "");
  });
}

Status Supervisor::LaunchWorker(Slot& slot) {
  ASSIGN_OR_RETURN(auto ends, net::SystemSocket::MakePair());
  ChildProcess::Options child;
  child.command = options_.command;
  child.environment = {{"RANK", std::to_string(slot.member)},
                       {"WORLD_SIZE", std::to_string(options_.host.starting_members)},
                       {"LOCAL_RANK", std::to_string(slot.member - options_.host.members.front())}};
  if (!options_.report_folder.empty()) {
    child.environment.push_back({kReportVariable, options_.report_folder});
  }
  if (const std::optional<net::Address> first_host = FirstHost()) {
    child.environment.push_back({"MASTER_ADDR", first_host->host});
    child.environment.push_back({"MASTER_PORT", std::to_string(first_host->port)});
  }
  child.passed_fd = ends.second->Release();
  child.passed_fd_variable = kAgentFdVariable;
  // A program that uses select() is harmed by descriptors that it didn't reckon with.
  child.open_files = worker_open_files_;
  ASSIGN_OR_RETURN(slot.child,
                   ChildProcess::Start(std::move(child), loop_,
                                       [this, member = slot.member](std::string line, bool error) {
                                         Print(error ? stderr : stdout, member, line);
                                       }));
  slot.incarnation.clear();
  slot.asked_in = false;
  slot.ended_for.clear();
  slot.lost_at = slot.heard_at = {};
  telemetry::WorkerStartedEvent started;
  started.member = slot.member;
  started.pid = slot.child->pid();
  events_->Write(ToRecord(started));
  host_->agent(slot.member)
      ->AttachWorker(std::make_unique<net::Link>(loop_, std::move(ends.first)));
  return OkStatus();
}

std::optional<net::Address> Supervisor::FirstHost() const {
  if (options_.host.members.front() == 0) return host_->advertised();
  const rendezvous::Whereabouts& where = options_.host.whereabouts;
  if (where.IsList()) return where.hosts.front();
  return std::nullopt;
}

void Supervisor::OnSignal() {
  signalfd_siginfo info;
  bool child_ended = false;
  while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGCHLD) {
      child_ended = true;
    } else if (info.ssi_signo == SIGUSR1 || info.ssi_signo == SIGUSR2) {
      PassOn(static_cast<int>(info.ssi_signo));
    } else {
      StopAll(static_cast<int>(info.ssi_signo));
    }
  }
  if (child_ended) ReapAll();
}

// What they mean is up to the program: a checkpoint, a dump of its stacks. One that knows nothing
// of them would be ended by them.
void Supervisor::PassOn(int signal) {
  const char* name = signal == SIGUSR1 ? "SIGUSR1" : "SIGUSR2";
  for (auto& [member, slot] : slots_) {
    if (slot.child == nullptr) continue;
    if (slot.child->IsReadyFor(signal)) {
      slot.child->Signal(signal);
    } else {
      LOG(WARNING) << name << " isn't passed on to member " << member
                   << ": its program doesn't handle it, and would be ended by it";
    }
  }
}

// Children that aren't workers are reaped too: as PID 1 this process inherits orphans.
void Supervisor::ReapAll() {
  siginfo_t info{};
  // Until it is reaped, a dead worker's number can't become another process's.
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    auto dead = std::find_if(slots_.begin(), slots_.end(), [&](const auto& entry) {
      return entry.second.child != nullptr && entry.second.child->pid() == info.si_pid;
    });
    // The survivors come first: what is said and written of it can wait.
    if (dead != slots_.end()) host_->agent(dead->first)->WorkerReaped();
    int status = 0;
    waitpid(info.si_pid, &status, 0);
    if (dead != slots_.end()) OnExit(dead->second, FromWaitStatus(status));
    info = {};
  }
}

void Supervisor::OnExit(Slot& slot, const ExitResult& result) {
  const rendezvous::Agent& agent = *host_->agent(slot.member);
  DropLifelines(slot);
  slot.child->Reaped();
  slot.child.reset();
  telemetry::WorkerExitEvent exit;
  exit.member = slot.member;
  exit.incarnation = slot.incarnation;
  exit.code = result.signal == 0 ? result.code : -1;
  exit.signal = result.signal;
  exit.ended_for = slot.ended_for;
  exit.t_lost = slot.lost_at != TimePoint{} ? slot.lost_at : clock_.Now();
  exit.t_heard = slot.heard_at;
  events_->Write(ToRecord(exit));
  bool in_order = result.signal == 0 && result.code == 0;
  // The others may have come to the job's end between its last sign of life and now.
  bool early = !stopping_ && !slot.ending.has_value() && !agent.worker_leaves() &&
               (agent.worker_left_early() || (!job_ended_ && !agent.worker_was_told()));
  slot.never_joined = in_order && early && !slot.asked_in && !host_->has_started();
  bool premature = in_order && early && !slot.never_joined;
  RestartPolicy::Verdict verdict;
  if (early) verdict = slot.policy.OnExit(clock_.Now(), result);
  if (premature) {
    LOG(WARNING) << "the worker of member " << slot.member
                 << " ended with exit code 0 before the job's end";
  } else if (result.signal == 0 && result.code == static_cast<int>(ExitCode::kLeft)) {
    LOG(INFO) << "the worker of member " << slot.member << " has ended, as it was told to";
  } else if (!in_order) {
    LOG(WARNING) << "the worker of member " << slot.member << " " << result.ToString()
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

void Supervisor::OnLifeline(Slot& slot, std::unique_ptr<net::Socket> lifeline) {
  if (lifeline == nullptr) return;
  const int fd = lifeline->descriptor();
  slot.lifelines.push_back(std::move(lifeline));
  Status watched = loop_.Watch(fd, {.readable = true}, [this, &slot](net::Ready) {
    DropLifelines(slot);
    // Posted, so that a goodbye that came before is read before.
    loop_.Post([this, &slot, pid = slot.child->pid()] {
      if (slot.child == nullptr || slot.child->pid() != pid) return;
      if (host_->agent(slot.member)->worker_ends()) return;
      // Whatever made the thread end: now the process does, for certain.
      FinishOff(slot);
      host_->agent(slot.member)->WorkerDoomed();
    });
  });
  if (!watched.ok()) slot.lifelines.pop_back();
}

void Supervisor::DropLifelines(Slot& slot) {
  for (const auto& lifeline : slot.lifelines) loop_.Unwatch(lifeline->descriptor());
  slot.lifelines.clear();
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
    live_.WriteThrough(stdout, "killed rank " + std::to_string(kill.rank) + " (member " +
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

void Supervisor::OnEnding(MemberId member, const rendezvous::Agent::Ending& ending) {
  if (ending.outcome == rendezvous::Outcome::kLeft) {
    LOG(INFO) << "member " << member << " has left the job";
    return EndMember(slots_.at(member), ending.exit_code);
  }
  if (ending.outcome != rendezvous::Outcome::kEnded) {
    if (stopping_) return;  // it ends as it was told to
    const ExitCodeRow& row = FindExitCode(static_cast<int>(ending.exit_code));
    std::string text = std::string(rendezvous::OutcomeName(ending.outcome)) + ": " + ending.reason;
    if (!row.remedy.empty()) text += "; " + std::string(row.remedy);
    // Members that end alike are told of once.
    if (told_endings_.insert(text).second) LOG(ERROR) << "member " << member << ": " << text;
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
    } else if (host_->agent(id)->worker_left_early()) {
      // It is ending by itself, and how is to be seen.
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
  if (slot.lost_at != TimePoint{}) return;
  slot.lost_at = clock_.Now();
  slot.ended_for = reason;
  slot.heard_at = heard;
}

// Nothing is said of it: how it ended is, when it is reaped.
void Supervisor::FinishOff(Slot& slot) {
  if (slot.child == nullptr) return;
  slot.child->Signal(SIGKILL);
  if (slot.lost_at == TimePoint{}) slot.lost_at = clock_.Now();
}

// A host that went at once could leave a slow one without the job's end, and so without a quorum.
void Supervisor::HangUp() {
  bool patient = true;
  net::TimerId limit = loop_.RunAfter(options_.linger, [&patient] { patient = false; });
  while (patient && !host_->EveryoneKnowsTheEnd()) loop_.PollOnce(Duration::max());
  host_->HangUp();
  while (patient && host_->HasLinks()) loop_.PollOnce(Duration::max());
  loop_.Cancel(limit);
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
// once too often.
void Supervisor::AskToLeave(Slot& slot, int signal) {
  rendezvous::Agent& agent = *host_->agent(slot.member);
  agent.has_worker() ? agent.AskWorkerToLeave(options_.grace) : slot.child->Signal(signal);
}

// Not the rank of the moment: who reads on wants to know the process, and ranks move up.
void Supervisor::Print(std::FILE* to, MemberId member, const std::string& line) {
  live_.WriteThrough(to, "[" + std::to_string(member) + "] " + line);
}

bool Supervisor::AllFinished() const {
  for (const auto& [member, slot] : slots_) {
    if (!slot.finished) return false;
  }
  return true;
}

}  // namespace closeranks::launcher
