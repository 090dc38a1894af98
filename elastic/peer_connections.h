// The connections to the other workers: kept across generations, made for those who are new.
//
// Of a pair, the higher member connects and the lower one accepts. Processes of one host meet on a
// Unix socket and talk through shared memory; others meet on the pod's port and talk TCP.
#ifndef CLOSERANKS_ELASTIC_PEER_CONNECTIONS_H_
#define CLOSERANKS_ELASTIC_PEER_CONNECTIONS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/random.h"
#include "base/status.h"
#include "collectives/engine/engine.h"
#include "collectives/transport/transport.h"
#include "elastic/contact_card.h"
#include "net/loop.h"
#include "net/network.h"
#include "rendezvous/decision.h"
#include "rendezvous/introduction.h"

namespace closeranks::elastic {

// Single-threaded, on the loop.
class PeerConnections {
 public:
  struct Options {
    rendezvous::Identity self;
    rendezvous::Credentials* credentials = nullptr;  // outlives it
    std::string host;                 // of this process: those who have the same share memory
    bool shared_memory = true;        // with peers of this host
    bool only_shared_memory = false;  // --transport=shm: other hosts are refused
    std::string data_address;         // of the pod's port, for the contact card
    Duration limit = std::chrono::seconds(10);  // for connecting to one generation's peers
  };
  // Detached from the engine when the last owner goes: the communicators of a world that is over
  // may still be held by the training thread.
  using SharedTransport = std::shared_ptr<collectives::Transport>;
  // The transports by rank (null for this rank), or why there are none.
  using Connected = std::function<void(Result<std::vector<SharedTransport>>)>;

  // Listens at once; errors are those of listening, and kInvalidArgument when only shared memory is
  // wanted and everything is to be encrypted. Everything by reference outlives it.
  static Result<std::unique_ptr<PeerConnections>> Open(net::Loop& loop, net::Network& network,
                                                       collectives::Engine& engine, Random& random,
                                                       Options options);
  ~PeerConnections();
  PeerConnections(const PeerConnections&) = delete;
  PeerConnections& operator=(const PeerConnections&) = delete;

  // What the agreement is to carry for this worker.
  std::string Card() const;

  // Drops who is no longer listed, connects to who is new, and calls back once; at once when nobody
  // is new. A later call gives an earlier one up, without its callback. kTimeout names who is
  // missing; kMismatch, before the first success only and whenever it showed, who is of another
  // build or configuration: later it is the newcomer's to end. kInvalidArgument, before the first
  // success only, who is on another host while only shared memory is wanted.
  void Connect(const rendezvous::Decision& decision, Connected connected);
  // Whatever Connect is under way doesn't call back any more.
  void GiveUp();

  // The engine noticed at `when` that the transport to `peer` failed.
  void OnPeerLost(const MemberProcess& peer, TimePoint when);

  // A connection that came in at the pod's port.
  void Accept(std::unique_ptr<net::Socket> connection) {
    Welcome(std::move(connection), /*same_host=*/false);
  }

 private:
  struct Attempt {
    World world;
    std::vector<rendezvous::ListedMember> members;
    Connected connected;
    net::TimerId limit = net::kNoTimer;
  };
  struct Connection {
    SharedTransport transport;
    TimePoint since;
    // The last generation of an unbroken row that lists the peer; 0: made for one that this worker
    // has yet to learn of.
    Generation listed_until = 0;
    bool is_lost = false;  // of no use to any world to come
  };

  PeerConnections(net::Loop& loop, net::Network& network, collectives::Engine& engine,
                  Random& random, Options options);

  // Ok when every member can be talked to by what was chosen.
  Status CheckHosts(const std::vector<rendezvous::ListedMember>& members) const;
  // Calls whom this side is to call, unless it does so already.
  void DialMissing();
  void Dial(const rendezvous::ListedMember& peer);
  void DialAgain(const rendezvous::ListedMember& peer);
  // Whether there is a connection to it that isn't known to be broken.
  bool Reaches(const MemberProcess& peer) const;
  void Welcome(std::unique_ptr<net::Socket> connection, bool same_host);
  void Introduce(std::unique_ptr<net::Socket> connection, rendezvous::Handshake::Role role,
                 bool same_host, std::function<void(const Status&)> done);
  Status OnIntroduced(Result<rendezvous::Acquaintance> result, bool same_host);
  bool IsOutdated(const MemberProcess& peer, const Connection& connection,
                  const World& world) const;
  void DropOutdated(const World& world);
  // Gives a connection up, whether it is there or not: the other side sees its end, although a
  // communicator of an earlier world may still hold the transport. It would wait for a call from
  // here, or never call again, if it thought the connection good.
  void Drop(const MemberProcess& peer);
  void EndIfConnected();
  void EndAttempt(Result<std::vector<SharedTransport>> result);

  net::Loop& loop_;
  collectives::Engine& engine_;
  Options options_;
  ContactCard card_;
  net::Network& network_;
  std::unique_ptr<net::Listener> listener_;  // for peers of this host; null: they come to the port
  rendezvous::Introductions introductions_;
  World world_;  // of the last Connect
  bool ever_connected_ = false;
  Status mismatch_;  // the first that showed before the first success
  std::unique_ptr<Attempt> attempt_;
  std::map<MemberProcess, Connection> connections_;
  // Whom this side is about to reach: one call at a time, so that both sides mean the same
  // connection. With the timer of the next call; kNoTimer while one is under way.
  std::map<MemberProcess, net::TimerId> dialling_;
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_PEER_CONNECTIONS_H_
