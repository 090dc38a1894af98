// The worker's end of the connection to its agent.
#ifndef CLOSERANKS_RENDEZVOUS_WORKER_SESSION_H_
#define CLOSERANKS_RENDEZVOUS_WORKER_SESSION_H_

#include <chrono>
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
// How often an agent says so to its worker.
inline constexpr Duration kAgentHeartbeatInterval = std::chrono::milliseconds(250);

// Single-threaded: everything on the thread that drives the link's loop.
class WorkerSession {
 public:
  struct Handlers {
    std::function<void(const Welcome&)> on_welcome;
    std::function<void(const Freeze&)> on_freeze;
    std::function<void(const Install&)> on_install;
    // Also when the agent is gone, or silent for too long: a worker without its agent has no vote
    // and must not go on, nor wait for ever.
    std::function<void(const Ended&)> on_ended;
    std::function<void(const DataConnection&, std::unique_ptr<net::Socket>)> on_data_connection;
    std::function<void(const Leave&)> on_leave;
    std::function<void(const Lost&)> on_lost;
    std::function<void(const Noticed&)> on_noticed;
    std::function<void(const FailingHeard&)> on_failing_heard;
  };

  // Says hello at once, and sends heartbeats for as long as it lives: after Ended too, as the
  // program may still have something to do. An agent that isn't heard for `agent_timeout`, up to a
  // quarter more, is given up. The time in which this process was stopped itself doesn't count.
  WorkerSession(net::Timers& timers, std::unique_ptr<net::Link> link, Incarnation worker,
                Duration agent_timeout, Handlers handlers);
  ~WorkerSession();
  WorkerSession(const WorkerSession&) = delete;
  WorkerSession& operator=(const WorkerSession&) = delete;

  void Send(const WorkerMessage& message, std::unique_ptr<net::Socket> passed = {});

 private:
  void OnFrame(std::string_view payload, std::unique_ptr<net::Socket> passed);
  void End(const Ended& ended);
  void End(ExitCode code, std::string reason) { End(Ended{code, std::move(reason), {}}); }
  void Heartbeat();
  void CheckAgentIsHeard();

  net::Timers& timers_;
  std::unique_ptr<net::Link> link_;
  Handlers handlers_;
  const Duration agent_timeout_;
  net::TimerId heartbeat_ = net::kNoTimer;
  TimePoint agent_heard_;
  bool agent_suspected_ = false;  // it wasn't heard for too long, at the last check
  net::TimerId agent_check_ = net::kNoTimer;
  bool ended_ = false;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_WORKER_SESSION_H_
