// The links between supervisors, over which their agents' messages travel.
//
// Each supervisor wants a link to every other one, and looks for those that it lacks, again and
// again with growing pauses. A link carries the messages of all members at its ends. Absence is no
// death here: the membership decides what a silent peer means.
#ifndef CLOSERANKS_RENDEZVOUS_PEER_LINKS_H_
#define CLOSERANKS_RENDEZVOUS_PEER_LINKS_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/member.h"
#include "base/random.h"
#include "net/loop.h"
#include "net/network.h"
#include "net/resolver.h"
#include "rendezvous/discovery.h"
#include "rendezvous/introduction.h"
#include "rendezvous/membership.h"

namespace closeranks::rendezvous {

// Single-threaded, on the loop.
class PeerLinks {
 public:
  struct Options {
    // process: the lowest member of this supervisor, and the supervisor's incarnation.
    Identity self;
    Credentials* credentials = nullptr;  // outlives it
    // The members of each other supervisor, ascending.
    std::vector<std::vector<MemberId>> peers;
    // Where they are looked for: a list has as many hosts as there are peers, in their order.
    Whereabouts whereabouts;
    std::string advertised;             // where others reach this supervisor
    net::Resolver* resolver = nullptr;  // outlives it; null: this host's DNS
    // A line over which nothing gets through for so long is given up, and a new one looked for.
    Duration line_limit = std::chrono::seconds(4);
    Duration handshake_limit = std::chrono::seconds(5);
    size_t max_introductions = 256;                        // callers beyond it are dropped
    Duration least_pause = std::chrono::milliseconds(50);  // between attempts to connect
    // The same where DNS servers are asked each time, by all hosts.
    Duration least_service_pause = std::chrono::milliseconds(400);
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
  PeerLinks(net::Loop& loop, net::Network& network, Random& random, Options options, Owner owner);
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  // Lost when there is no link to it now.
  void Send(const Envelope& envelope);
  // A connection that came in at the port.
  void Accept(std::unique_ptr<net::Socket> connection);

  // Whom there is no link to and why, for people: "10.0.0.7:29400 (members 2 to 3): connection
  // refused". Empty when there is a link to everyone.
  std::string DescribeMissing() const;
  // Why somebody refused this process or was refused where it called one that there is no link to;
  // else ok. Who called is no reason for anything: it may be anybody.
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
    bool called = false;  // by this side
    std::unique_ptr<net::Link> link;
  };
  // Another supervisor, whichever process it is.
  struct Peer {
    std::vector<MemberId> members;
    // The newest last. There may be several to one process, as either side may have made one, and
    // to several processes: one that was replaced must not take its successor's place, and is to be
    // told.
    std::list<Line> lines;
  };
  // Looking for peers in one place.
  struct Search {
    std::unique_ptr<Source> source;
    Peer* wanted = nullptr;          // null: every peer that there is no line to
    bool is_looking = false;         // the source was asked
    std::set<net::Address> calling;  // there was no answer of these yet
    Duration least_pause{};
    Duration pause{};
    net::TimerId retry = net::kNoTimer;
    Status trouble;  // why it didn't lead to a line; ok: nothing is known, or it did
    TimePoint trouble_logged{};
    // The last time that somebody there refused this process, or was refused; ok: nobody did. What
    // comes after, as when that one has given up, doesn't make it another trouble.
    Status refusal;
  };

  void BeginSearches();
  bool IsNeeded(const Search& search) const;
  void Look(Search& search);
  void Call(Search& search, const net::Address& address);
  void CallEnded(Search& search, const net::Address& address);
  void CallFailed(Search& search, const net::Address& address, const Status& why);
  void LookLater(Search& search);
  // The first of a kind at once, then only now and then: an absent peer is called many times.
  void NoteTrouble(Search& search, const Status& why);
  // `search` is null for who called.
  void Introduce(std::unique_ptr<net::Socket> connection, Search* search,
                 const net::Address& address);
  void OnIntroduced(Result<Acquaintance> result, Search* search, const net::Address& address);
  // A caller.
  void TurnAway(const Status& why);
  // Whether a line that was just called adds nothing to those that there are to this process.
  bool IsSpare(const Peer& peer, const MemberProcess& supervisor) const;
  void AddLine(Peer& peer, const Incarnation& supervisor, bool called,
               std::unique_ptr<net::Socket> connection);
  void OnFrame(Peer& peer, Line& line, const net::FrameHeader& header, std::string_view payload);
  void OnClosed(Peer& peer, Line& line, const Status& why);
  static bool HasLineTo(const Peer& peer, const Incarnation& supervisor);
  Peer* FindByMember(MemberId member);

  net::Loop& loop_;
  net::Network& network_;
  Random& random_;
  Options options_;
  Owner owner_;
  std::unique_ptr<net::Resolver> own_resolver_;
  std::list<Peer> peers_;
  std::list<Search> searches_;
  // Who was met at an address that was called, the own process among them.
  std::map<net::Address, MemberProcess> met_at_;
  Introductions introductions_;
  bool job_ended_ = false;
  bool hangs_up_ = false;
  uint64_t refused_callers_ = 0;
  Status last_refused_;  // of them, and why
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_PEER_LINKS_H_
