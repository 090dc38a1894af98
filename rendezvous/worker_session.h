// The worker's end of the connection to its agent.
#ifndef CLOSERANKS_RENDEZVOUS_WORKER_SESSION_H_
#define CLOSERANKS_RENDEZVOUS_WORKER_SESSION_H_

#include <functional>
#include <memory>

#include "base/member.h"
#include "base/status.h"
#include "net/link.h"
#include "net/timers.h"
#include "rendezvous/session_messages.h"

namespace closeranks::rendezvous {

// How often a worker says that it lives; an agent that hears nothing for its worker_timeout ends
// the worker.
inline constexpr Duration kWorkerHeartbeatInterval = std::chrono::milliseconds(50);

// Single-threaded: everything on the thread that drives the link's loop.
class WorkerSession {
 public:
  struct Handlers {
    std::function<void(const Welcome&)> on_welcome;
    std::function<void(const Freeze&)> on_freeze;
    std::function<void(const Install&)> on_install;
    // Also when the agent is gone: a worker without its agent has no vote and must not go on.
    std::function<void(const Ended&)> on_ended;
    std::function<void(const DataConnection&, UniqueFd)> on_data_connection;
  };

  // Says hello at once, and sends heartbeats for as long as it lives: after Ended too, as the
  // program may still have something to do.
  WorkerSession(net::Timers& timers, std::unique_ptr<net::Link> link, Incarnation worker,
                Handlers handlers);
  ~WorkerSession();
  WorkerSession(const WorkerSession&) = delete;
  WorkerSession& operator=(const WorkerSession&) = delete;

  void Send(const WorkerMessage& message, UniqueFd passed = {});

 private:
  void OnFrame(std::string_view payload, UniqueFd passed);
  void End(ExitCode code, const std::string& reason);
  void Heartbeat();

  net::Timers& timers_;
  std::unique_ptr<net::Link> link_;
  Handlers handlers_;
  net::TimerId heartbeat_ = net::kNoTimer;
  bool ended_ = false;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_WORKER_SESSION_H_
