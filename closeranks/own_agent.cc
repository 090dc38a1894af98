#include "closeranks/own_agent.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>

#include "glog/logging.h"
#include "net/socket_link.h"

namespace closeranks {
namespace {

// There is nobody to take the place of a worker that is silent, in a debugger for instance.
constexpr Duration kPatience = std::chrono::hours(24 * 365);

rendezvous::Agent::Owner Owner(MemberId) {
  rendezvous::Agent::Owner owner;
  owner.kill_worker = [](const std::string& reason, TimePoint) { LOG(ERROR) << reason; };
  owner.on_hung_up = [] {};
  owner.on_progress = [](const rendezvous::Progress&) {};
  owner.on_hello = [](const rendezvous::Hello&) {};
  owner.on_ready = [] {};
  owner.on_lifeline = [](UniqueFd) {};
  owner.on_outcome = [](const auto&...) {};
  return owner;
}

}  // namespace

Result<std::unique_ptr<OwnAgent>> OwnAgent::Start(const Clock& clock, Random& random) {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return ErrnoStatus(errno, "making the agent's socket");
  }
  std::unique_ptr<OwnAgent> agent(new OwnAgent(clock));
  UniqueFd agent_end(ends[0]);
  agent->worker_end_ = UniqueFd(ends[1]);
  rendezvous::AgentHost::Options options;
  options.key = Incarnation::Draw(random).ToString();
  options.members = {0};
  options.starting_members = 1;
  options.membership.freeze_timeout = kPatience;
  options.worker_timeout = kPatience;
  RETURN_IF_ERROR(agent->loop_thread_.RunAndWait([&]() -> Status {
    net::EventLoop& loop = agent->loop_thread_.loop();
    ASSIGN_OR_RETURN(agent->host_,
                     rendezvous::AgentHost::Open(loop, random, std::move(options), Owner));
    agent->host_->agent(0)->AttachWorker(
        std::make_unique<net::SocketLink>(loop, std::move(agent_end)));
    return OkStatus();
  }));
  return agent;
}

OwnAgent::~OwnAgent() {
  loop_thread_.RunAndWait([this] { host_.reset(); });
}

}  // namespace closeranks
