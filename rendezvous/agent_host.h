// The agents of one process and the port that they share: what a supervisor runs to keep its
// workers' votes.
#ifndef CLOSERANKS_RENDEZVOUS_AGENT_HOST_H_
#define CLOSERANKS_RENDEZVOUS_AGENT_HOST_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/batch_part.h"
#include "base/member.h"
#include "base/random.h"
#include "base/status.h"
#include "net/front_door.h"
#include "net/loop.h"
#include "net/network.h"
#include "rendezvous/agent.h"
#include "rendezvous/peer_links.h"

namespace closeranks::rendezvous {

// What is told of a loss to the other workers of the host where it happened: its log may have the
// lost one's own words already.
enum class OnThisHost { kTheCause, kThatItIsSaid, kNothing };

// Single-threaded, on the loop.
class AgentHost {
 public:
  struct Options {
    std::string job = "closeranks";
    Credentials* credentials = nullptr;  // outlives it
    // Of this program; supervisors of one job must have the same.
    std::string build;
    std::vector<MemberId> members;  // whose agents run here, ascending
    int starting_members = 1;       // of the whole job
    int most_computing = 0;         // of its workers; the others stand by; 0: all compute
    net::Address listen = net::Address::Ip("127.0.0.1", 0);
    // Where other hosts reach this one, without a resolver; host empty: where it listens; port 0:
    // the one it listens on.
    net::Address advertised;
    // The other supervisors, and where to look for them: see PeerLinks::Options.
    std::vector<std::vector<MemberId>> peers;
    Whereabouts whereabouts;
    net::Resolver* resolver = nullptr;  // outlives it; null: this host's DNS
    // self, supervisor and starting_members are filled in. A witness has one member.
    MembershipOptions membership;
    Duration worker_timeout = std::chrono::milliseconds(1000);
    Duration stopped_worker_timeout = std::chrono::milliseconds(150);
    // The workers wait for one another without a limit.
    bool pauses_are_ok = false;
    // Owner::on_progress is to be called.
    bool progress_is_wanted = false;
    // Another host's worker is lost, or about to be; `part`: what it computed when it failed by
    // itself, or none. Maybe more than once for each.
    std::function<void(const MemberProcess& worker, const BatchPart& part)> on_lost_worker;
    // Connections at once to those who haven't proven that they belong to the job, at least 2.
    size_t max_strangers = 512;
  };

  // `owner_of` gives each member's agent its owner; Owner::send is filled in here. `on_mismatch`,
  // which may be null, hears of each supervisor that has the key but not this one's configuration.
  // Listens at once; errors are those of listening, such as a taken port. Everything by reference
  // outlives the host.
  static Result<std::unique_ptr<AgentHost>> Open(
      net::Loop& loop, net::Network& network, Random& random, Options options,
      const std::function<Agent::Owner(MemberId)>& owner_of,
      std::function<void(const Status&)> on_mismatch = nullptr);
  ~AgentHost();
  AgentHost(const AgentHost&) = delete;
  AgentHost& operator=(const AgentHost&) = delete;

  // Null when it doesn't run here.
  Agent* agent(MemberId member);
  const net::Address& address() const { return door_->address(); }
  // Where other hosts reach it.
  const net::Address& advertised() const { return options_.advertised; }
  const Incarnation& supervisor() const { return supervisor_; }

  // Tells every other worker of the job, and every other host, that `member`'s, of this host, is
  // lost and why. Of the cause as much goes out as a message has room for.
  void TellLoss(MemberId member, LossMessage loss, OnThisHost here);
  // Tells every worker of the job, `member`'s too, what that has noticed about itself. As much of
  // it goes out as a message has room for.
  void TellNotice(MemberId member, std::string text);

  // Whether some agent here was ever in an agreed world.
  bool has_started() const;
  // Whether the others need this process no more: every supervisor that shared the job's end, if
  // that was agreed on, is known to know it; and no member here waits to be voted out.
  bool MayGo() const;
  // Before this process ends: no new links, and each link ends when its other side has read
  // everything.
  void HangUp() { links_->HangUp(); }
  bool HasLinks() const { return links_->HasLinks(); }

 private:
  AgentHost(net::Loop& loop, Random& random, Options options);

  void Send(const Envelope& envelope);
  void Route(const net::Preamble& preamble, std::unique_ptr<net::Socket> connection);
  void OnPeerMessage(MemberId to, const Message& message);
  // To every listed member that runs elsewhere.
  void SendToOthers(MemberId from, const MessageBody& body);
  std::string Configuration() const;
  Agent::Owner Wrap(MemberId member, Agent::Owner owner);
  // Who of the starting members isn't there.
  std::string DescribeMissing() const;

  net::Loop& loop_;
  Options options_;
  Incarnation supervisor_;
  std::unique_ptr<net::FrontDoor> door_;
  std::unique_ptr<PeerLinks> links_;
  std::map<MemberId, std::unique_ptr<Agent>> agents_;
  // The newest decision that each member's agent is known to know.
  std::map<MemberProcess, Generation> known_to_;
  // Expires with the host, so that what was posted before doesn't run after.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_AGENT_HOST_H_
