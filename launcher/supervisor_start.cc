// How a worker comes to be, and how its death is noticed early.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "closeranks/environment.h"
#include "glog/logging.h"
#include "launcher/supervisor.h"
#include "net/link.h"
#include "net/system_socket.h"
#include "telemetry/records.h"

namespace closeranks::launcher {
namespace {

// For a process that is dying, and may take long, as one that waits for a device.
constexpr Duration kReapPatience = std::chrono::milliseconds(200);

// As glog writes one after the line that says what happened.
bool IsOfStack(const std::string& line) {
  return line.starts_with("***") || line.starts_with("    @ ");
}

}  // namespace

Status Supervisor::StartWorker(Slot& slot) { return TryAgainIfShort(slot, LaunchWorker(slot)); }

Status Supervisor::TryAgainIfShort(Slot& slot, Status started) {
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
    if (!started.ok()) GiveUpWorker(slot, started);
  });
}

void Supervisor::OnNotExecuted(Slot& slot, const Status& why) {
  Status failed = TryAgainIfShort(slot, why);
  if (failed.ok()) return;
  if (host_->has_started()) {
    GiveUpWorker(slot, failed);
  } else {
    not_executed_ = std::move(failed);
  }
}

void Supervisor::GiveUpWorker(Slot& slot, const Status& why) {
  LOG(ERROR) << why;
  slot.finished = true;
  slot.exit_code = static_cast<int>(ExitCodeFor(why));
  GiveUpStart(slot, "");
}

Status Supervisor::LaunchWorker(Slot& slot) {
  ASSIGN_OR_RETURN(auto ends, net::SystemSocket::MakePair());
  ChildProcess::Options child;
  child.command = options_.command;
  child.environment = {{"RANK", std::to_string(slot.member)},
                       {"WORLD_SIZE", std::to_string(options_.most_workers)},
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
                                       [this, &slot](const std::string& line, bool error) {
                                         if (error && !IsOfStack(line)) slot.last_line = line;
                                         Print(error ? error_ : out_, slot.member, line);
                                       }));
  slot.incarnation = {};
  slot.flight.Reset();
  slot.asked_in = false;
  slot.ended_for.clear();
  slot.cause.clear();
  slot.last_line.clear();
  slot.lost_at = slot.heard_at = {};
  slot.is_recorded = false;
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
      // The way it ends may tell more than that the job's state ends with it.
      if (MayBePoison(slot)) {
        loop_.RunAfter(kReapPatience, [this, &slot, pid] { GiveUpDying(slot, pid); });
      } else {
        GiveUpDying(slot, pid);
      }
    });
  });
  if (!watched.ok()) slot.lifelines.pop_back();
}

void Supervisor::GiveUpDying(Slot& slot, pid_t pid) {
  if (slot.child == nullptr || slot.child->pid() != pid) return;
  host_->agent(slot.member)->WorkerDoomed();
  if (EndsEarly(slot)) DumpFlightsOfLoss(slot, "");
}

void Supervisor::DropLifelines(Slot& slot) {
  for (const auto& lifeline : slot.lifelines) loop_.Unwatch(lifeline->descriptor());
  slot.lifelines.clear();
}

}  // namespace closeranks::launcher
