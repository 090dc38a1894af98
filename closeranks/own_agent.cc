#include "closeranks/own_agent.h"

#include <chrono>
#include <string>

#include "glog/logging.h"
#include "net/link.h"
#include "net/system_socket.h"

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
  owner.on_failing = [](const rendezvous::Failing&) { return MemberId{-1}; };
  owner.on_lifeline = [](std::unique_ptr<net::Socket>) {};
  owner.on_flight_memory = [](std::unique_ptr<net::Socket>) {};
  owner.on_timeout = [] {};
  owner.on_notice = [](const rendezvous::Notice&) {};
  owner.on_outcome = [](const auto&...) {};
  return owner;
}

}  // namespace

Result<std::unique_ptr<OwnAgent>> OwnAgent::Start(const Clock& clock, Random& random) {
  ASSIGN_OR_RETURN(auto ends, net::SystemSocket::MakePair());
  std::unique_ptr<OwnAgent> agent(new OwnAgent(clock));
  agent->worker_end_ = std::move(ends.second);
  rendezvous::AgentHost::Options options;
  rendezvous::Security security;
  security.keys = {Incarnation::Draw(random).ToString()};
  options.members = {0};
  options.starting_members = 1;
  options.membership.freeze_timeout = kPatience;
  options.worker_timeout = kPatience;
  options.stopped_worker_timeout = kPatience;
  RETURN_IF_ERROR(agent->loop_thread_.RunAndWait([&]() -> Status {
    net::EventLoop& loop = agent->loop_thread_.loop();
    ASSIGN_OR_RETURN(agent->credentials_,
                     rendezvous::Credentials::Open(loop, agent->files_, std::move(security)));
    options.credentials = agent->credentials_.get();
    agent->network_ = std::make_unique<net::SocketNetwork>(loop);
    ASSIGN_OR_RETURN(agent->host_, rendezvous::AgentHost::Open(loop, *agent->network_, random,
                                                               std::move(options), Owner));
    agent->host_->agent(0)->AttachWorker(std::make_unique<net::Link>(loop, std::move(ends.first)));
    return OkStatus();
  }));
  return agent;
}

OwnAgent::~OwnAgent() {
  loop_thread_.RunAndWait([this] {
    host_.reset();
    network_.reset();
    credentials_.reset();
  });
}

}  // namespace closeranks
