// Making connections, as a seam: production connects the system's sockets, a simulation its own.
#ifndef CLOSERANKS_NET_NETWORK_H_
#define CLOSERANKS_NET_NETWORK_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "net/address.h"
#include "net/socket.h"

namespace closeranks::net {

// Accepts until it is destroyed, which may happen in its own callback. Sockets that it has handed
// out live on.
class Listener {
 public:
  virtual ~Listener() = default;
  // Where it listens, with the port that was chosen when 0 was asked for.
  virtual const Address& address() const = 0;
};

struct ConnectOptions {
  // Until the connection stands; a handshake's time comes on top.
  Duration timeout = std::chrono::seconds(5);
  // Sent before anything else: a preamble, for a port that expects one. At most kMaxGreeting bytes.
  std::string greeting;
};
inline constexpr size_t kMaxGreeting = 256;

// Never reused within one Network.
using ConnectId = uint64_t;
inline constexpr ConnectId kNoConnect = 0;

// Single-threaded, on its loop: so are the callbacks, which never come from inside Listen, Connect
// or Cancel. Outlives its listeners.
class Network {
 public:
  // `peer` is where the connection came from.
  using AcceptCallback = std::function<void(std::unique_ptr<Socket> socket, const Address& peer)>;
  // Or kUnavailable (refused, no route: trying again may help), kTimeout, kInvalidArgument (a name:
  // resolve it first), kUnauthenticated (another user's Unix socket), kResourceExhausted. The
  // message names the address.
  using ConnectCallback = std::function<void(Result<std::unique_ptr<Socket>>)>;

  // Pending connects are cancelled.
  virtual ~Network() = default;

  // kResourceExhausted when the port is taken, with the remedy in the message; kInvalidArgument
  // when `address` isn't one of this host.
  virtual Result<std::unique_ptr<Listener>> Listen(const Address& address,
                                                   AcceptCallback on_accept) = 0;

  // `on_connected` is called exactly once, unless cancelled.
  virtual ConnectId Connect(const Address& address, ConnectOptions options,
                            ConnectCallback on_connected) = 0;

  // `id`'s callback won't come any more. Harmless when it came already.
  virtual void Cancel(ConnectId id) = 0;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_NETWORK_H_
