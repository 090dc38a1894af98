// A handshake carried out over a fresh connection, after TLS where that is wanted.
#ifndef CLOSERANKS_RENDEZVOUS_INTRODUCTION_H_
#define CLOSERANKS_RENDEZVOUS_INTRODUCTION_H_

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "net/link.h"
#include "net/loop.h"
#include "net/socket.h"
#include "net/tls.h"
#include "rendezvous/credentials.h"
#include "rendezvous/handshake.h"

namespace closeranks::rendezvous {

// What a connection is once both sides are sure of each other.
struct Acquaintance {
  Identity peer;
  std::unique_ptr<net::Socket> connection;  // nothing of what follows the handshake has been read
};

// Single-threaded, on the loop. Destroying it closes the connection, and `done` isn't called any
// more.
class Introduction {
 public:
  // Errors: kMismatch is proven, and names both values. kUnauthenticated, kUnavailable and kTimeout
  // may be anybody's doing, and are no reason to end anything.
  using Done = std::function<void(Result<Acquaintance>)>;

  // Takes the connected socket and begins at once. `tls` null: nothing is encrypted. `done` is
  // called once, never from inside the constructor, within `limit` and a moment; it may destroy
  // this.
  Introduction(net::Loop& loop, std::unique_ptr<net::Socket> connection, Handshake::Role role,
               Identity self, Keys keys, std::shared_ptr<const net::TlsContext> tls, Random& random,
               Duration limit, Done done);
  ~Introduction();
  Introduction(const Introduction&) = delete;
  Introduction& operator=(const Introduction&) = delete;

 private:
  void OnSecuring();
  void Begin(std::unique_ptr<net::Socket> connection, std::string binding);
  void OnMessage(std::string_view message);
  void Refuse(Status why);
  void End(Result<Acquaintance> result);
  void Send(std::string message);

  net::Loop& loop_;
  const Handshake::Role role_;
  const std::string who_;  // "the handshake with 10.0.0.7:29400"
  Identity self_;
  const Keys keys_;
  Random& random_;
  std::unique_ptr<net::TlsSocket> securing_;  // while TLS shakes hands
  std::optional<net::Link> link_;             // from then on
  std::optional<Handshake> handshake_;
  net::TimerId limit_ = net::kNoTimer;
  std::optional<Status> refused_;
  Done done_;
};

// The introductions of one process that are under way. Single-threaded, on the loop.
class Introductions {
 public:
  // Each ends within `limit` and a moment. Of callers (for whom this side is the responder) there
  // are never more than `most_callers`: strangers can't make us hold more half-known connections.
  // Beyond it somebody goes: of the address that has the most, the one that has waited longest.
  // Everything by reference outlives it.
  Introductions(net::Loop& loop, Random& random, Identity self, Credentials& credentials,
                Duration limit, size_t most_callers);

  // `done` is called once, unless this goes before or is cleared, or this caller has to make room
  // for another; it may destroy this. `is_local`: the connection doesn't leave this host, and is
  // never encrypted.
  void Begin(std::unique_ptr<net::Socket> connection, Handshake::Role role, bool is_local,
             Introduction::Done done);
  void Clear();

 private:
  struct UnderWay {
    std::string caller;  // see net::CallerName
    std::unique_ptr<Introduction> introduction;
  };
  using List = std::list<UnderWay>;

  net::Loop& loop_;
  Random& random_;
  const Identity self_;
  Credentials& credentials_;
  const Duration limit_;
  const size_t most_callers_;
  List callers_;  // the oldest first
  List called_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_INTRODUCTION_H_
