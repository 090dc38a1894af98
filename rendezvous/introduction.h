// A handshake carried out over a fresh connection.
#ifndef CLOSERANKS_RENDEZVOUS_INTRODUCTION_H_
#define CLOSERANKS_RENDEZVOUS_INTRODUCTION_H_

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "net/event_loop.h"
#include "net/socket_link.h"
#include "rendezvous/handshake.h"

namespace closeranks::rendezvous {

// What a connection is once both sides are sure of each other.
struct Acquaintance {
  Identity peer;
  UniqueFd connection;  // nothing of what follows the handshake has been read
};

// Single-threaded, on the loop. Destroying it closes the connection, and `done` isn't called any
// more.
class Introduction {
 public:
  using Done = std::function<void(Result<Acquaintance>)>;

  // Takes the connected socket and begins at once. `done` is called once, never from inside the
  // constructor, within `limit` and a moment; it may destroy this.
  Introduction(net::EventLoop& loop, UniqueFd connection, Handshake::Role role, Identity self,
               std::string key, Random& random, Duration limit, Done done);
  ~Introduction();
  Introduction(const Introduction&) = delete;
  Introduction& operator=(const Introduction&) = delete;

 private:
  void OnMessage(std::string_view message);
  void Refuse(Status why);
  void End(Result<Acquaintance> result);
  void Send(std::string message);

  net::EventLoop& loop_;
  net::SocketLink link_;
  Handshake handshake_;
  net::TimerId limit_;
  std::optional<Status> refused_;
  Done done_;
};

// The introductions of one process that are under way. Single-threaded, on the loop.
class Introductions {
 public:
  // Strangers can't make us hold more half-known connections than this.
  static constexpr size_t kMost = 256;

  // Each ends within `limit` and a moment. Everything by reference outlives it.
  Introductions(net::EventLoop& loop, Random& random, Identity self, std::string key,
                Duration limit);

  // `done` is called once, unless this goes before or is cleared; it may destroy this. Who calls
  // (for whom this side is the responder) when there are kMost of them is turned away unheard.
  void Begin(UniqueFd connection, Handshake::Role role, Introduction::Done done);
  void Clear() { under_way_.clear(); }

 private:
  net::EventLoop& loop_;
  Random& random_;
  const Identity self_;
  const std::string key_;
  const Duration limit_;
  std::list<std::unique_ptr<Introduction>> under_way_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_INTRODUCTION_H_
