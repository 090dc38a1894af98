#include "rendezvous/worker_session.h"

#include <unistd.h>

#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {

WorkerSession::WorkerSession(net::Timers& timers, std::unique_ptr<net::Link> link,
                             Incarnation worker, Duration agent_timeout, Handlers handlers)
    : timers_(timers),
      link_(std::move(link)),
      handlers_(std::move(handlers)),
      agent_timeout_(agent_timeout),
      agent_heard_(timers.Now()) {
  link_->Start({.on_frame =
                    [this](const net::FrameHeader& header, std::string payload,
                           std::unique_ptr<net::Socket> passed) {
                      agent_heard_ = timers_.Now();
                      if (header.kind == net::FrameKind::kHeartbeat) return;
                      OnFrame(payload, std::move(passed));
                    },
                .on_closed =
                    [this](const Status& why) {
                      timers_.Cancel(heartbeat_);
                      timers_.Cancel(agent_check_);
                      End(ExitCode::kError, "the supervisor is gone: " + why.message());
                    }});
  Send(Hello{worker, getpid()});
  Heartbeat();
  CheckAgentIsHeard();
}

WorkerSession::~WorkerSession() {
  timers_.Cancel(heartbeat_);
  timers_.Cancel(agent_check_);
}

void WorkerSession::Send(const WorkerMessage& message, std::unique_ptr<net::Socket> passed) {
  link_->Send({.kind = net::FrameKind::kControl}, Encode(message), std::move(passed));
}

void WorkerSession::OnFrame(std::string_view payload, std::unique_ptr<net::Socket> passed) {
  auto message = DecodeAgentMessage(payload);
  if (!message.ok()) {
    End(ExitCode::kMismatch,
        "the supervisor speaks another version: " + message.status().message());
    return;
  }
  if (auto* welcome = std::get_if<Welcome>(&*message)) {
    handlers_.on_welcome(*welcome);
  } else if (auto* freeze = std::get_if<Freeze>(&*message)) {
    handlers_.on_freeze(*freeze);
  } else if (auto* install = std::get_if<Install>(&*message)) {
    handlers_.on_install(*install);
  } else if (auto* ended = std::get_if<Ended>(&*message)) {
    End(*ended);
  } else if (auto* connection = std::get_if<DataConnection>(&*message)) {
    handlers_.on_data_connection(*connection, std::move(passed));
  } else if (auto* leave = std::get_if<Leave>(&*message)) {
    handlers_.on_leave(*leave);
  } else if (auto* lost = std::get_if<Lost>(&*message)) {
    handlers_.on_lost(*lost);
  } else if (auto* noticed = std::get_if<Noticed>(&*message)) {
    handlers_.on_noticed(*noticed);
  } else if (auto* heard = std::get_if<FailingHeard>(&*message)) {
    handlers_.on_failing_heard(*heard);
  }
}

void WorkerSession::End(const Ended& ended) {
  if (std::exchange(ended_, true)) return;
  handlers_.on_ended(ended);
}

void WorkerSession::Heartbeat() {
  link_->Send({.kind = net::FrameKind::kHeartbeat}, "");
  heartbeat_ = timers_.RunAfter(kWorkerHeartbeatInterval, [this] { Heartbeat(); });
}

// The program may hang on what only the agent can tell it: a new world, or the job's end.
void WorkerSession::CheckAgentIsHeard() {
  if (ended_) return;
  const TimePoint now = timers_.Now();
  TimePoint due = agent_heard_ + agent_timeout_;
  const bool is_due = now >= due;
  if (is_due && agent_suspected_) {
    return End(ExitCode::kError,
               "the supervisor (" + link_->peer() + ") wasn't heard for " +
                   std::to_string(static_cast<int>(ToMilliseconds(now - agent_heard_))) +
                   " ms: it is stopped or hangs; look into that, then start the job again");
  }
  // Maybe it was this process that stood still, and what the agent sent is yet to be read.
  if (is_due) due = now + agent_timeout_ / 4;
  agent_suspected_ = is_due;
  agent_check_ = timers_.RunAt(due, [this] { CheckAgentIsHeard(); });
}

}  // namespace closeranks::rendezvous
