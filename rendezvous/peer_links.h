// The links between supervisors, over which their agents' messages travel.
//
// Each supervisor keeps one link to every other one of the static list: of a pair, the one with the
// higher members connects, again and again with growing pauses; a link carries the messages of all
// members at its ends. Absence is no death here: the membership decides what a silent peer means.
#ifndef CLOSERANKS_RENDEZVOUS_PEER_LINKS_H_
#define CLOSERANKS_RENDEZVOUS_PEER_LINKS_H_

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/member.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "net/event_loop.h"
#include "net/resolver.h"
#include "net/socket_network.h"
#include "rendezvous/introduction.h"
#include "rendezvous/membership.h"

namespace closeranks::rendezvous {

// Single-threaded, on the loop.
class PeerLinks {
 public:
  struct Options {
    // process: the lowest member of this supervisor, and the supervisor's incarnation.
    Identity self;
    std::string key;
    std::map<MemberId, net::Address> peers;  // those with the same address share a supervisor
    Duration handshake_limit = std::chrono::seconds(5);
    size_t max_introductions = 256;                        // callers beyond it are dropped
    Duration least_pause = std::chrono::milliseconds(50);  // between attempts to connect
    Duration most_pause = std::chrono::seconds(2);
  };
  struct Owner {
    // A message for the agent of `to`. Its sender is one of the members at the other end, proven.
    std::function<void(MemberId to, const Message& message)> on_message;
    std::function<void(const MemberProcess& supervisor)> on_up;
    std::function<void(const MemberProcess& supervisor)> on_down;
    // A process that has the job's key, but is of another build or configuration. The message names
    // both.
    std::function<void(const Status& mismatch)> on_mismatch;
  };

  // Begins to connect. Everything by reference outlives it.
  PeerLinks(net::EventLoop& loop, net::SocketNetwork& network, Random& random, Options options,
            Owner owner);
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  // Lost when there is no link to it now.
  void Send(const Envelope& envelope);
  // A connection that came in at the port.
  void Accept(UniqueFd connection);

  // Whom there is no link to and why, for people: "10.0.0.7:29400 (members 2 to 3): connection
  // refused". Empty when there is a link to everyone.
  std::string DescribeMissing() const;
  // Why a peer that there is no link to refused this process or was refused, if one was; else ok.
  Status refusal() const;

  // From now on a link's end is nothing to speak of.
  void JobEnded() { job_ended_ = true; }
  // Sends what is queued, and makes no links any more. Each link ends when its other side has read
  // everything.
  void HangUp();
  bool HasLinks() const;

 private:
  struct Line {
    Incarnation supervisor;
    std::unique_ptr<net::SocketLink> link;
  };
  // Another place of the list: the members behind one address.
  struct Peer {
    net::Address address;
    std::vector<MemberId> members;  // ascending
    // One to each process that calls itself their supervisor, the newest last: one that was
    // replaced must not take its successor's place, and is to be told.
    std::list<Line> lines;
    std::vector<Incarnation> seen;  // the last few that there was a line to
    Duration pause{};
    bool is_dialling = false;
    Status trouble;  // why there is no link; ok: nothing is known, or there is one
    TimePoint trouble_logged{};
    net::TimerId retry = net::kNoTimer;
  };

  bool DialsTo(const Peer& peer) const;
  void Dial(Peer& peer);
  void DialResolved(Peer& peer, const net::Address& address);
  void RetryLater(Peer& peer, const Status& why);
  void Introduce(UniqueFd connection, Handshake::Role role, Peer* dialled);
  void OnIntroduced(Result<Acquaintance> result, Peer* dialled);
  void OnFrame(Peer& peer, Incarnation supervisor, const net::FrameHeader& header,
               std::string_view payload);
  void OnClosed(Peer& peer, Incarnation supervisor, const Status& why);
  void Drop(Peer& peer, Incarnation supervisor);
  // The first of a kind at once, then only now and then: an absent peer is called many times.
  void NoteTrouble(Peer& peer, const Status& why);
  Peer* FindByMember(MemberId member);

  net::EventLoop& loop_;
  net::SocketNetwork& network_;
  Random& random_;
  Options options_;
  Owner owner_;
  std::list<Peer> peers_;
  Introductions introductions_;
  std::unique_ptr<net::Resolver> resolver_;
  bool job_ended_ = false;
  bool hangs_up_ = false;
  Status refused_caller_;  // the last one
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_PEER_LINKS_H_
