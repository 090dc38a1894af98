#include "rendezvous/worker_session.h"

#include <unistd.h>

#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {

WorkerSession::WorkerSession(net::Timers& timers, std::unique_ptr<net::Link> link,
                             Incarnation worker, Handlers handlers)
    : timers_(timers), link_(std::move(link)), handlers_(std::move(handlers)) {
  link_->Start({.on_frame = [this](const net::FrameHeader&, std::string payload,
                                   UniqueFd passed) { OnFrame(payload, std::move(passed)); },
                .on_closed =
                    [this](const Status& why) {
                      timers_.Cancel(heartbeat_);
                      End(ExitCode::kError, "the supervisor is gone: " + why.message());
                    }});
  Send(Hello{worker, getpid()});
  Heartbeat();
}

WorkerSession::~WorkerSession() { timers_.Cancel(heartbeat_); }

void WorkerSession::Send(const WorkerMessage& message, UniqueFd passed) {
  link_->Send({.kind = net::FrameKind::kControl}, Encode(message), std::move(passed));
}

void WorkerSession::OnFrame(std::string_view payload, UniqueFd passed) {
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
    End(ended->exit_code, ended->reason);
  } else if (auto* connection = std::get_if<DataConnection>(&*message)) {
    handlers_.on_data_connection(*connection, std::move(passed));
  }
}

void WorkerSession::End(ExitCode code, const std::string& reason) {
  if (std::exchange(ended_, true)) return;
  handlers_.on_ended({code, reason});
}

void WorkerSession::Heartbeat() {
  link_->Send({.kind = net::FrameKind::kHeartbeat}, "");
  heartbeat_ = timers_.RunAfter(kWorkerHeartbeatInterval, [this] { Heartbeat(); });
}

}  // namespace closeranks::rendezvous
