// The agent of a program that no supervisor started: a world of one, so that a training program
// runs by itself, in a debugger say, exactly as it does under `closeranks run`.
#ifndef CLOSERANKS_CLOSERANKS_OWN_AGENT_H_
#define CLOSERANKS_CLOSERANKS_OWN_AGENT_H_

#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/random.h"
#include "base/status.h"
#include "net/loop_thread.h"
#include "net/socket_network.h"
#include "rendezvous/agent_host.h"

namespace closeranks {

class OwnAgent {
 public:
  // Runs on a thread of its own. `clock` and `random` outlive it.
  static Result<std::unique_ptr<OwnAgent>> Start(const Clock& clock, Random& random);
  ~OwnAgent();
  OwnAgent(const OwnAgent&) = delete;
  OwnAgent& operator=(const OwnAgent&) = delete;

  // The worker's end of its session. Once.
  std::unique_ptr<net::Socket> TakeWorkerEnd() { return std::move(worker_end_); }

 private:
  explicit OwnAgent(const Clock& clock) : loop_thread_(clock, "agent") {}

  net::SystemLoopThread loop_thread_;
  SystemFiles files_;
  // Live on the loop.
  std::unique_ptr<rendezvous::Credentials> credentials_;
  std::unique_ptr<net::SocketNetwork> network_;
  std::unique_ptr<rendezvous::AgentHost> host_;
  std::unique_ptr<net::Socket> worker_end_;
};

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_OWN_AGENT_H_
