// The network of this host's kernel: TCP, and abstract Unix sockets between processes of one user.
#ifndef CLOSERANKS_NET_SOCKET_NETWORK_H_
#define CLOSERANKS_NET_SOCKET_NETWORK_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/network.h"
#include "net/socket_link.h"

namespace closeranks::net {

// kUnauthenticated, naming both, unless the process at the other end of the connected Unix socket
// `fd` runs as `user`. Abstract Unix sockets have no file permissions: this takes their place.
Status CheckPeerUser(int fd, uid_t user);

// All sockets are non-blocking and close-on-exec, TCP ones have TCP_NODELAY. An IPv6 listener on
// [::] takes IPv4 too. Both ends of a Unix socket must belong to the same user; others are refused.
class SocketNetwork final : public Network {
 public:
  using AcceptFdCallback = std::function<void(UniqueFd fd, const Address& peer)>;
  using ConnectFdCallback = std::function<void(Result<UniqueFd>)>;

  // `loop` outlives the network. Links are made with `link_options`.
  explicit SocketNetwork(EventLoop& loop) : SocketNetwork(loop, SocketLink::Options()) {}
  SocketNetwork(EventLoop& loop, SocketLink::Options link_options);
  ~SocketNetwork() override;

  Result<std::unique_ptr<Listener>> Listen(const Address& address,
                                           AcceptCallback on_accept) override;
  ConnectId Connect(const Address& address, ConnectOptions options,
                    ConnectCallback on_connected) override;
  void Cancel(ConnectId id) override;

  // The same with bare sockets, for those who speak something else than frames on them, or first.
  Result<std::unique_ptr<Listener>> ListenFd(const Address& address, AcceptFdCallback on_accept);
  ConnectId ConnectFd(const Address& address, ConnectOptions options,
                      ConnectFdCallback on_connected);

 private:
  struct Connecting {
    UniqueFd fd;
    Address address;
    std::string greeting;
    TimerId timer = kNoTimer;  // the time limit, or an end that is known already
    ConnectFdCallback on_connected;
  };

  Status Begin(ConnectId id, Connecting& connecting, const SocketAddress& target);
  void OnConnectReady(ConnectId id);
  void End(ConnectId id, Status status);

  EventLoop& loop_;
  const SocketLink::Options link_options_;
  ConnectId next_connect_ = 1;
  std::map<ConnectId, Connecting> connecting_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SOCKET_NETWORK_H_
