#include "rendezvous/agent_host.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {

AgentHost::AgentHost(net::Loop& loop, Random& random, Options options)
    : loop_(loop), options_(std::move(options)), supervisor_(Incarnation::Draw(random)) {}

Result<std::unique_ptr<AgentHost>> AgentHost::Open(
    net::Loop& loop, net::Network& network, Random& random, Options options,
    const std::function<Agent::Owner(MemberId)>& owner_of,
    std::function<void(const Status&)> on_mismatch) {
  std::unique_ptr<AgentHost> host(new AgentHost(loop, random, std::move(options)));
  AgentHost* raw = host.get();
  net::FrontDoor::Options door;
  door.job_hash = net::HashJobName(host->options_.job);
  // One half before they say whom they want, the other one while they prove who they are.
  door.max_pending = host->options_.max_strangers / 2;
  // With a new world every worker may call each of those here, from behind a single address.
  size_t all = host->options_.members.size();
  for (const std::vector<MemberId>& peer : host->options_.peers) all += peer.size();
  const double most = static_cast<double>(host->options_.members.size()) * static_cast<double>(all);
  door.calls.burst = std::max(door.calls.burst, 4 * most);
  door.calls.per_second = std::max(door.calls.per_second, most / 2);
  // So may every supervisor call this one.
  const auto hosts = static_cast<double>(host->options_.peers.size());
  door.membership_calls.burst = std::max(door.membership_calls.burst, 4 * hosts);
  door.membership_calls.per_second = std::max(door.membership_calls.per_second, hosts / 2);
  ASSIGN_OR_RETURN(host->door_,
                   net::FrontDoor::Open(loop, network, host->options_.listen, door,
                                        [raw](const net::Preamble& preamble,
                                              std::unique_ptr<net::Socket> connection) {
                                          raw->Route(preamble, std::move(connection));
                                        }));
  net::Address& advertised = host->options_.advertised;
  if (advertised.host.empty()) advertised.host = host->door_->address().host;
  if (advertised.port == 0) advertised.port = host->door_->address().port;
  PeerLinks::Options links;
  links.self = {host->options_.job,
                {host->options_.members.front(), host->supervisor_},
                {host->options_.build, "", host->Configuration()}};
  links.credentials = host->options_.credentials;
  links.peers = host->options_.peers;
  links.whereabouts = host->options_.whereabouts;
  links.resolver = host->options_.resolver;
  links.advertised = advertised.ToString();
  links.max_introductions = host->options_.max_strangers / 2;
  host->links_ = std::make_unique<PeerLinks>(
      loop, network, random, std::move(links),
      PeerLinks::Owner{
          [raw](MemberId to, const Message& message) { raw->OnPeerMessage(to, message); },
          [raw](const MemberProcess& supervisor) {
            for (auto& [member, agent] : raw->agents_) agent->OnPeerLinkUp(supervisor);
          },
          [raw](const MemberProcess& supervisor) {
            for (auto& [member, agent] : raw->agents_) agent->OnPeerLinkDown(supervisor);
          },
          std::move(on_mismatch)});
  for (MemberId member : host->options_.members) {
    Agent::Options agent;
    agent.membership = host->options_.membership;
    agent.membership.self = member;
    agent.membership.supervisor = host->supervisor_;
    agent.membership.starting_members = host->options_.starting_members;
    agent.welcome = {host->options_.job,
                     {},  // as it is when a worker starts
                     member,
                     host->options_.starting_members,
                     host->options_.most_computing,
                     advertised.ToString(),
                     host->options_.pauses_are_ok,
                     host->options_.progress_is_wanted};
    agent.worker_timeout = host->options_.worker_timeout;
    agent.stopped_worker_timeout = host->options_.stopped_worker_timeout;
    Agent::Owner owner = host->Wrap(member, owner_of(member));
    host->agents_.emplace(
        member, std::make_unique<Agent>(std::move(agent), loop, random, std::move(owner)));
  }
  return host;
}

// What the supervisors of one job must agree on.
std::string AgentHost::Configuration() const {
  return "members=" + std::to_string(options_.starting_members) +
         " watchers=" + std::to_string(options_.membership.watchers) +
         " least_hosts=" + std::to_string(options_.membership.least_hosts) +
         " most_computing=" + std::to_string(options_.most_computing);
}

Agent::Owner AgentHost::Wrap(MemberId member, Agent::Owner owner) {
  owner.send = [this](const Envelope& envelope) { Send(envelope); };
  owner.security = [this] { return options_.credentials->security(); };
  owner.on_outcome = [this, member,
                      tell = std::move(owner.on_outcome)](const Agent::Ending& ending) {
    Agent::Ending explained = ending;
    const DecisionRef& decision = agents_.at(member)->membership().decision();
    if (decision != nullptr && decision->job_ended()) links_->JobEnded();
    if (ending.outcome == Outcome::kJoinTimedOut) {
      explained.reason += DescribeMissing();
      Status refusal = links_->refusal();
      if (!refusal.ok()) explained.exit_code = ExitCodeFor(refusal);
    }
    tell(explained);
  };
  return owner;
}

std::string AgentHost::DescribeMissing() const {
  std::string text;
  for (const auto& [member, agent] : agents_) {
    if (!agent->has_worker() && !options_.membership.witness)
      text += "; no worker of member " + std::to_string(member);
  }
  std::string links = links_->DescribeMissing();
  if (!links.empty()) text += "; no link to " + links;
  return text;
}

bool AgentHost::has_started() const {
  for (const auto& [member, agent] : agents_) {
    if (agent->membership().decision() != nullptr) return true;
  }
  return false;
}

bool AgentHost::MayGo() const {
  for (const auto& [member, agent] : agents_) {
    // Its vote may be needed for the generation without it.
    if (agent->membership().is_leaving()) return false;
    const DecisionRef& decision = agent->membership().decision();
    if (decision == nullptr || !decision->job_ended()) continue;
    for (const ListedMember& listed : decision->members) {
      if (agents_.contains(listed.member)) continue;
      auto known = known_to_.find({listed.member, listed.supervisor});
      if (known == known_to_.end() || known->second < decision->generation) return false;
    }
  }
  return true;
}

AgentHost::~AgentHost() { *alive_ = false; }

Agent* AgentHost::agent(MemberId member) {
  auto found = agents_.find(member);
  return found == agents_.end() ? nullptr : found->second.get();
}

void AgentHost::Send(const Envelope& envelope) {
  bool is_local = false;
  for (MemberId member : options_.members) is_local = is_local || member == envelope.to;
  if (!is_local) {
    links_->Send(envelope);
    return;
  }
  // Posted, as an agent must not be called from inside another one's call.
  loop_.Post([this, alive = alive_, envelope] {
    if (*alive) OnPeerMessage(envelope.to, envelope.message);
  });
}

void AgentHost::TellLoss(MemberId member, LossMessage loss, OnThisHost here) {
  if (loss.cause.size() > kMaxCauseBytes) loss.cause.resize(kMaxCauseBytes);
  for (const auto& [id, agent] : agents_) {
    if (id == member || here == OnThisHost::kNothing) continue;
    agent->TellWorker(Lost{member, loss.cause, here == OnThisHost::kThatItIsSaid});
  }
  SendToOthers(member, loss);
}

void AgentHost::TellNotice(MemberId member, std::string text) {
  if (text.size() > kMaxNoticeBytes) text.resize(kMaxNoticeBytes);
  for (const auto& [id, agent] : agents_) agent->TellWorker(Noticed{member, text});
  SendToOthers(member, NoticeMessage{text});
}

void AgentHost::SendToOthers(MemberId from, const MessageBody& body) {
  const DecisionRef& decision = agents_.at(from)->membership().decision();
  if (decision == nullptr) return;
  for (const ListedMember& listed : decision->members) {
    if (agents_.contains(listed.member)) continue;
    links_->Send(
        {listed.member,
         {{from, supervisor_}, listed.supervisor, decision->lineage, decision->generation, body}});
  }
}

void AgentHost::OnPeerMessage(MemberId to, const Message& message) {
  if (const auto* loss = std::get_if<LossMessage>(&message.body)) {
    if (Agent* agent = this->agent(to)) {
      agent->TellWorker(Lost{message.from.member, loss->cause, false});
    }
    if (options_.on_lost_worker) {
      options_.on_lost_worker({message.from.member, loss->worker}, loss->part);
    }
    return;
  }
  if (const auto* notice = std::get_if<NoticeMessage>(&message.body)) {
    if (Agent* agent = this->agent(to)) {
      agent->TellWorker(Noticed{message.from.member, notice->text});
    }
    return;
  }
  if (!agents_.contains(message.from.member)) {
    Generation& known = known_to_[message.from];
    known = std::max(known, message.generation);
  }
  if (Agent* agent = this->agent(to); agent != nullptr) agent->OnPeerMessage(message);
}

void AgentHost::Route(const net::Preamble& preamble, std::unique_ptr<net::Socket> connection) {
  if (preamble.role == net::ConnectionRole::kMembership) {
    links_->Accept(std::move(connection));
  } else if (Agent* agent = this->agent(preamble.destination.member); agent != nullptr) {
    agent->PassConnection(preamble.sender, std::move(connection));
  }
}

}  // namespace closeranks::rendezvous
