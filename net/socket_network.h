// The network of this host's kernel: TCP, and abstract Unix sockets between processes of one user.
#ifndef CLOSERANKS_NET_SOCKET_NETWORK_H_
#define CLOSERANKS_NET_SOCKET_NETWORK_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/network.h"

namespace closeranks::net {

// kUnauthenticated, naming both, unless the process at the other end of the connected Unix socket
// `fd` runs as `user`. Abstract Unix sockets have no file permissions: this takes their place.
Status CheckPeerUser(int fd, uid_t user);

// All sockets are non-blocking and close-on-exec, TCP ones have TCP_NODELAY. An IPv6 listener on
// [::] takes IPv4 too, and is one on 0.0.0.0 where the kernel has no IPv6. Both ends of a Unix
// socket must belong to the same user; others are refused.
class SocketNetwork final : public Network {
 public:
  // `loop` outlives the network.
  explicit SocketNetwork(Loop& loop) : loop_(loop) {}
  ~SocketNetwork() override;

  Result<std::unique_ptr<Listener>> Listen(const Address& address,
                                           AcceptCallback on_accept) override;
  ConnectId Connect(const Address& address, ConnectOptions options,
                    ConnectCallback on_connected) override;
  void Cancel(ConnectId id) override;

 private:
  struct Connecting {
    UniqueFd fd;
    Address address;
    std::string greeting;
    TimerId timer = kNoTimer;  // the time limit, or an end that is known already
    ConnectCallback on_connected;
  };

  Status Begin(ConnectId id, Connecting& connecting, const SocketAddress& target);
  void OnConnectReady(ConnectId id);
  void End(ConnectId id, Status status);

  Loop& loop_;
  ConnectId next_connect_ = 1;
  std::map<ConnectId, Connecting> connecting_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SOCKET_NETWORK_H_
