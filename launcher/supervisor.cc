#include "launcher/supervisor.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "base/open_files.h"
#include "glog/logging.h"
#include "launcher/background_file.h"
#include "launcher/descriptor_budget.h"
#include "net/background.h"
#include "telemetry/log_prefix.h"
#include "telemetry/records.h"

namespace closeranks::launcher {
namespace {

// Who was killed for memory is gone by then, however much it had.
constexpr Duration kOldKill = std::chrono::seconds(10);
// For a disk that hangs, at the end of the run.
constexpr Duration kDiskPatience = std::chrono::seconds(1);

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

}  // namespace

Supervisor::Supervisor(Options options, const Clock& clock, Random& random, Files& files)
    : options_(std::move(options)),
      clock_(clock),
      files_(files),
      loop_(clock),
      random_(random),
      out_(STDOUT_FILENO, loop_),
      error_(STDERR_FILENO, loop_),
      live_(out_, isatty(STDOUT_FILENO) != 0, options_.host.most_computing),
      events_(std::make_unique<telemetry::EventLog>()) {
  if (options_.fault.has_value()) aim_.emplace(*options_.fault);
}

Supervisor::~Supervisor() = default;

Result<int> Supervisor::Run() {
  // A line of the log is to clear the live line away as a worker's does, and to wait for nobody.
  telemetry::LogTap log([this](const std::string& line) { PrintLog(line); });
  sigset_t handled = HandledSignals();
  sigset_t before;
  sigprocmask(SIG_BLOCK, &handled, &before);
  std::signal(SIGPIPE, SIG_IGN);  // for good: what is still in a buffer is written at exit
  // Where it is ignored, as it may be inherited, the kernel reaps a worker before anybody knows of
  // its end, and may give its number to a stranger.
  std::signal(SIGCHLD, SIG_DFL);
  worker_open_files_ = RaiseOpenFilesLimit();
  Status prepared = Prepare();
  while (prepared.ok() && !AllFinished()) {
    loop_.PollOnce(Duration::max());
    prepared = not_executed_;
  }
  if (prepared.ok()) HangUp();
  WriteFlights();
  if (prepared.ok()) AwaitRecords();
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
  if (prepared.ok()) {
    Duration longest_silence{};
    for (const MemberId member : options_.host.members) {
      longest_silence =
          std::max(longest_silence, host_->agent(member)->membership().longest_silence());
    }
    events_->Write(ToRecord(telemetry::SupervisorEndEvent{worst, ToMilliseconds(longest_silence)}));
  }
  slots_.clear();  // ends what is still running
  records_disk_.reset();
  SetOpenFilesLimit(worker_open_files_);
  // What came too late to be heard isn't to end this process instead of its exit code. Whoever
  // presses Ctrl-C from here on doesn't want to wait for who reads the output.
  DropSignals();
  for (int signal : {SIGTERM, SIGUSR1, SIGUSR2}) std::signal(signal, SIG_IGN);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  out_.Flush();
  error_.Flush();
  RETURN_IF_ERROR(prepared);
  return worst;
}

Status Supervisor::Prepare() {
  std::unique_ptr<net::Background> credentials_disk;
  if (options_.security.has_files()) {
    credentials_disk =
        std::make_unique<net::BackgroundThread>(clock_, "credentials", kDiskPatience);
  }
  ASSIGN_OR_RETURN(credentials_, rendezvous::Credentials::Open(loop_, files_, options_.security,
                                                               std::move(credentials_disk)));
  options_.host.credentials = credentials_.get();
  if (!options_.report_folder.empty()) {
    const std::string& folder = options_.report_folder;
    auto prepared = telemetry::PrepareReportFolder(files_, folder);
    if (!prepared.ok()) return ReportStatus(folder, prepared.status());
    report_ = *std::move(prepared);
    auto events = files_.OpenForAppend(telemetry::SupervisorEventsPath(folder));
    if (!events.ok()) return ReportStatus(folder, events.status());
    records_disk_ = std::make_unique<net::BackgroundThread>(clock_, "records", kDiskPatience);
    events_ = std::make_unique<telemetry::EventLog>(
        std::make_unique<BackgroundFile>(*std::move(events), *records_disk_), clock_);
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
  options_.host.progress_is_wanted = options_.live_line || options_.fault.has_value();
  options_.host.on_lost_worker = [this](const MemberProcess& worker, const BatchPart& part) {
    DumpFlightsLater(Incident::kLostWorker, "");
    if (!part.IsNone()) OnFailedPart(worker, part);
  };
  ASSIGN_OR_RETURN(host_, rendezvous::AgentHost::Open(
                              loop_, network_, random_, options_.host,
                              [this](MemberId member) { return OwnerOf(member); },
                              [this](const Status& why) { OnMismatch(why); }));
  events_->Write(ToRecord(telemetry::RunEvent{Joined(options_.command),
                                              static_cast<int>(options_.host.starting_members)}));
  for (MemberId member : options_.host.members) {
    slots_.try_emplace(member, member, options_.restarts);
  }
  if (options_.host.membership.witness) {
    LOG(INFO) << "this host only votes, as member " << options_.host.members.front();
    return OkStatus();
  }
  LookForOldKills();
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
  owner.on_failing = [this, member](const rendezvous::Failing& failing) {
    return OnFailing(slots_.at(member), failing);
  };
  owner.on_hello = [this, member](const rendezvous::Hello& hello) {
    Slot& slot = slots_.at(member);
    slot.incarnation = hello.worker;
  };
  owner.on_listed = [this](const Incarnation& lineage) { OnListed(lineage); };
  owner.on_ready = [this, member] {
    slots_.at(member).asked_in = true;
    CheckStart();
  };
  owner.on_lifeline = [this, member](std::unique_ptr<net::Socket> lifeline) {
    OnLifeline(slots_.at(member), std::move(lifeline));
  };
  owner.on_flight_memory = [this, member](std::unique_ptr<net::Socket> memory) {
    if (memory != nullptr) slots_.at(member).flight = memory->Release();
  };
  owner.on_timeout = [this, member] {
    DumpFlights(Incident::kTimeout,
                "an operation of member " + std::to_string(member) + " took too long");
  };
  owner.on_suspicion = [this, member](MemberId peer, TimePoint heard) {
    OnSuspicion(member, peer, heard);
  };
  owner.on_loss = [this](MemberId peer) {
    const std::string name = "member " + std::to_string(peer);
    DumpFlightsLater(Incident::kLostHost, slots_.contains(peer)
                                              ? name + " was voted out"
                                              : "the supervisor of " + name + " is lost");
  };
  owner.on_notice = [this, member](const rendezvous::Notice& notice) {
    OnNotice(slots_.at(member), notice);
  };
  owner.on_hold = [this](const std::string& why) { OnHold(why); };
  owner.is_worker_stopped = [this, member] {
    const Slot& slot = slots_.at(member);
    return slot.child != nullptr && slot.child->IsStopped();
  };
  owner.is_worker_dying = [this, member] {
    Slot& slot = slots_.at(member);
    if (slot.child == nullptr || !slot.child->IsDumpingCore()) return false;
    if (slot.lost_at == TimePoint{}) {
      slot.lost_at = clock_.Now();
      DumpFlightsOfLoss(slot, "");
    }
    return true;
  };
  owner.on_outcome = [this, member](const rendezvous::Agent::Ending& ending) {
    OnEnding(member, ending);
  };
  return owner;
}

void Supervisor::LookForOldKills() {
  oom_watch_.ForgetOld();
  loop_.RunAfter(kOldKill, [this] { LookForOldKills(); });
}

void Supervisor::OnListed(const Incarnation& lineage) {
  if (options_.report_folder.empty() || std::exchange(was_listed_, true)) return;
  records_disk_->Start([&files = files_, folder = options_.report_folder,
                        ledgers = report_.earlier_ledgers, lineage, keep = options_.keep_ledgers] {
    Status settled = telemetry::SettleEarlierLedgers(files, folder, ledgers, lineage, keep);
    LOG_IF(WARNING, !settled.ok())
        << "--report=" << folder
        << ": an earlier run's ledgers can't be removed: " << settled.message();
  });
}

void Supervisor::AwaitRecords() {
  if (records_disk_ == nullptr) return;
  (void)records_disk_->AwaitIdle();
  loop_.PollOnce(Duration::zero());
}

void Supervisor::OnHold(const std::string& why) {
  const std::string before = std::exchange(hold_, why);
  if (before == why) return;
  if (why.empty()) {
    LOG(INFO) << "the job goes on";
  } else {
    LOG(WARNING) << "the job " << why;
    if (before.empty()) DumpFlights(Incident::kLostHost, "the job holds");
  }
}

void Supervisor::OnSignal() {
  signalfd_siginfo info;
  bool child_ended = false;
  while (read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGCHLD) {
      child_ended = true;
    } else if (info.ssi_signo == SIGUSR1) {
      PassOnCheckpointSignal();
    } else if (info.ssi_signo == SIGUSR2) {
      DumpFlights(Incident::kAsked, "SIGUSR2 asks for it");
    } else {
      StopAll(static_cast<int>(info.ssi_signo));
    }
  }
  if (child_ended) ReapAll();
}

void Supervisor::DropSignals() {
  signalfd_siginfo info;
  while (signals_ && read(signals_.get(), &info, sizeof(info)) > 0) {
  }
}

// A program that knows nothing of it would be ended by it.
void Supervisor::PassOnCheckpointSignal() {
  for (auto& [member, slot] : slots_) {
    if (slot.child == nullptr) continue;
    if (slot.child->IsReadyFor(SIGUSR1)) {
      slot.child->Signal(SIGUSR1);
    } else {
      LOG(WARNING) << "SIGUSR1 isn't passed on to member " << member
                   << ": its program doesn't handle it, and would be ended by it; one that trains "
                      "with Closeranks handles it if it is given --checkpoint-folder";
    }
  }
}

// A host that went at once could leave a slow one without the job's end, or the others without a
// vote that they need, and so without a quorum.
void Supervisor::HangUp() {
  if (host_->has_started() && !job_ended_) {
    for (const auto& [member, slot] : slots_) host_->agent(member)->Leave();
  }
  bool patient = true;
  net::TimerId limit = loop_.RunAfter(options_.linger, [&patient] { patient = false; });
  while (patient && !host_->MayGo()) loop_.PollOnce(Duration::max());
  host_->HangUp();
  while (patient && host_->HasLinks()) loop_.PollOnce(Duration::max());
  loop_.Cancel(limit);
}

// Not the rank of the moment: who reads on wants to know the process, and ranks move up.
void Supervisor::Print(Output& to, MemberId member, const std::string& line) {
  live_.WriteThrough(to, "[" + std::to_string(member) + "] " + line);
}

void Supervisor::PrintLog(const std::string& line) {
  if (std::this_thread::get_id() == thread_) return live_.WriteThrough(error_, line);
  loop_.Post([this, line] { live_.WriteThrough(error_, line); });
}

bool Supervisor::AllFinished() const {
  for (const auto& [member, slot] : slots_) {
    if (!slot.finished) return false;
  }
  return true;
}

}  // namespace closeranks::launcher
