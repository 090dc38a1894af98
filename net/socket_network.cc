#include "net/socket_network.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <string>
#include <utility>

#include "glog/logging.h"
#include "net/system_socket.h"

namespace closeranks::net {
namespace {

constexpr int kStream = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
// A burst of a few thousand ranks; the kernel caps it at net.core.somaxconn.
constexpr int kBacklog = 4096;
// How long a listener rests when the process has no descriptor left: the connection stays in the
// backlog, and would be reported again at once.
constexpr Duration kAcceptRest = std::chrono::milliseconds(100);

void SetOption(int fd, int level, int option, int value) {
  PCHECK(setsockopt(fd, level, option, &value, sizeof(value)) == 0) << "option " << option;
}

Result<UniqueFd> OpenSocket(const SocketAddress& address) {
  UniqueFd fd(socket(address.family(), kStream, 0));
  if (!fd) return ErrnoStatus(errno, "opening a socket");
  return fd;
}

Status ListenStatus(int error_number, const Address& address) {
  const std::string where = "listening on " + address.ToString();
  if (error_number == EADDRINUSE) {
    const std::string taken =
        address.IsUnix() ? "the name" : "port " + std::to_string(address.port);
    return ResourceExhausted(where + ": " + taken +
                             " is taken by another process; end that one (`ss -lp` names it) or "
                             "choose another");
  }
  if (error_number == EACCES) {
    return InvalidArgument(where + ": ports below 1024 need a privilege; choose a higher one");
  }
  if (error_number == EADDRNOTAVAIL) {
    return InvalidArgument(where + ": no interface of this host has that address");
  }
  return ErrnoStatus(error_number, where);
}

Result<UniqueFd> OpenListening(const Address& address) {
  ASSIGN_OR_RETURN(SocketAddress target, ToSocketAddress(address));
  UniqueFd fd(socket(target.family(), kStream, 0));
  if (!fd && errno == EAFNOSUPPORT && address.host == "::") {
    return OpenListening(Address::Ip("0.0.0.0", address.port));
  }
  if (!fd) return ErrnoStatus(errno, "opening a socket");
  if (target.family() != AF_UNIX) SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (target.family() == AF_INET6) SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (bind(fd.get(), target.get(), target.length) != 0 || listen(fd.get(), kBacklog) != 0) {
    return ListenStatus(errno, address);
  }
  return fd;
}

// Connecting to a free port of one's own host, the kernel may choose that very port for this end:
// the socket is then connected to itself, and nobody listens.
bool IsConnectedToItself(int fd, const Address& address) {
  return !address.IsUnix() && LocalAddress(fd) == PeerAddress(fd);
}

class SocketListener final : public Listener {
 public:
  SocketListener(Loop& loop, UniqueFd fd, const Address& address, Network::AcceptCallback on_accept)
      : loop_(loop),
        fd_(std::move(fd)),
        address_(address.IsUnix() ? address : LocalAddress(fd_.get())),
        on_accept_(std::make_shared<Network::AcceptCallback>(std::move(on_accept))) {}

  ~SocketListener() override {
    loop_.Unwatch(fd_.get());
    loop_.Cancel(rest_);
  }

  Status Start() {
    return loop_.Watch(fd_.get(), {.readable = true}, [this](Ready) { Accept(); });
  }

  const Address& address() const override { return address_; }

 private:
  void Accept() {
    // One at a time, as the callback may destroy this listener; the rest is reported again.
    SocketAddress peer;
    peer.length = sizeof(peer.storage);
    UniqueFd fd(accept4(fd_.get(), peer.get(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return OnAcceptError(errno);
    if (address_.IsUnix()) {
      if (Status status = CheckPeerUser(fd.get(), geteuid()); !status.ok()) {
        LOG(WARNING) << address_ << ": " << status;
        return;
      }
    }
    const std::shared_ptr<Network::AcceptCallback> on_accept = on_accept_;
    (*on_accept)(std::make_unique<SystemSocket>(std::move(fd)), FromSocketAddress(peer));
  }

  void OnAcceptError(int error_number) {
    // Anything else is about the connection that was to be accepted, which is gone.
    if (error_number != EMFILE && error_number != ENFILE && error_number != ENOBUFS &&
        error_number != ENOMEM) {
      return;
    }
    LOG_EVERY_N(ERROR, 10) << ErrnoStatus(error_number, "accepting on " + address_.ToString());
    loop_.Modify(fd_.get(), {});
    rest_ = loop_.RunAfter(kAcceptRest, [this] { loop_.Modify(fd_.get(), {.readable = true}); });
  }

  Loop& loop_;
  UniqueFd fd_;
  const Address address_;
  std::shared_ptr<Network::AcceptCallback> on_accept_;
  TimerId rest_ = kNoTimer;
};

}  // namespace

Status CheckPeerUser(int fd, uid_t user) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return ErrnoStatus(errno, "asking who is at the other end of a Unix socket");
  }
  if (credentials.uid == user) return OkStatus();
  return Unauthenticated("process " + std::to_string(credentials.pid) +
                         " at the other end of a Unix socket runs as user " +
                         std::to_string(credentials.uid) + ", expected " + std::to_string(user));
}

SocketNetwork::~SocketNetwork() {
  while (!connecting_.empty()) Cancel(connecting_.begin()->first);
}

Result<std::unique_ptr<Listener>> SocketNetwork::Listen(const Address& address,
                                                        AcceptCallback on_accept) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenListening(address));
  auto listener =
      std::make_unique<SocketListener>(loop_, std::move(fd), address, std::move(on_accept));
  RETURN_IF_ERROR(listener->Start());
  return std::unique_ptr<Listener>(std::move(listener));
}

ConnectId SocketNetwork::Connect(const Address& address, ConnectOptions options,
                                 ConnectCallback on_connected) {
  CHECK_LE(options.greeting.size(), kMaxGreeting);
  const ConnectId id = next_connect_++;
  Connecting& connecting = connecting_[id];
  connecting.address = address;
  connecting.greeting = std::move(options.greeting);
  connecting.on_connected = std::move(on_connected);
  Result<SocketAddress> target = ToSocketAddress(address);
  Status status = target.ok() ? Begin(id, connecting, *target) : target.status();
  if (!status.ok()) {
    // Known already, and told from the loop, as callbacks always are.
    connecting.timer = loop_.RunAfter(Duration::zero(), [this, id, status] { End(id, status); });
    return id;
  }
  connecting.timer = loop_.RunAfter(options.timeout, [this, id, limit = options.timeout] {
    const Address& address = connecting_.at(id).address;
    End(id, Timeout("connecting to " + address.ToString() + ": no answer within " +
                    std::to_string(std::lround(ToMilliseconds(limit))) + " ms"));
  });
  return id;
}

Status SocketNetwork::Begin(ConnectId id, Connecting& connecting, const SocketAddress& target) {
  ASSIGN_OR_RETURN(connecting.fd, OpenSocket(target));
  const int fd = connecting.fd.get();
  // EINTR too leaves the connection under way. A Unix socket connects at once, or its listener's
  // backlog is full (EAGAIN).
  if (connect(fd, target.get(), target.length) != 0 && errno != EINPROGRESS && errno != EINTR) {
    const int error_number = errno;
    connecting.fd.Reset();
    return ErrnoStatus(error_number, "connecting to " + connecting.address.ToString());
  }
  Status status = loop_.Watch(fd, {.writable = true}, [this, id](Ready) { OnConnectReady(id); });
  if (!status.ok()) connecting.fd.Reset();
  return status;
}

void SocketNetwork::OnConnectReady(ConnectId id) {
  const Connecting& connecting = connecting_.at(id);
  const int fd = connecting.fd.get();
  const std::string what = "connecting to " + connecting.address.ToString();
  int error_number = 0;
  socklen_t length = sizeof(error_number);
  PCHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length) == 0);
  // Reset while connecting is a refusal, not the loss of a peer that was there.
  if (error_number == ECONNRESET) error_number = ECONNREFUSED;
  if (error_number != 0) return End(id, ErrnoStatus(error_number, what));
  if (IsConnectedToItself(fd, connecting.address)) {
    return End(id, ErrnoStatus(ECONNREFUSED, what));
  }
  if (connecting.address.IsUnix()) {
    Status status = CheckPeerUser(fd, geteuid());
    if (!status.ok()) return End(id, status.WithContext(what));
  }
  const std::string& greeting = connecting.greeting;
  if (!greeting.empty()) {
    // The first bytes of a connection always fit into its empty buffer.
    const ssize_t sent = send(fd, greeting.data(), greeting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return End(id, Unavailable(what + ": closed at once"));
    CHECK_EQ(static_cast<size_t>(sent), greeting.size());
  }
  End(id, OkStatus());
}

void SocketNetwork::End(ConnectId id, Status status) {
  auto node = connecting_.extract(id);
  Connecting& connecting = node.mapped();
  loop_.Cancel(connecting.timer);
  if (connecting.fd) loop_.Unwatch(connecting.fd.get());
  // What is called may destroy this network.
  if (!status.ok()) {
    connecting.fd.Reset();
    return connecting.on_connected(std::move(status));
  }
  connecting.on_connected(
      std::unique_ptr<Socket>(std::make_unique<SystemSocket>(std::move(connecting.fd))));
}

void SocketNetwork::Cancel(ConnectId id) {
  auto node = connecting_.extract(id);
  if (node.empty()) return;
  loop_.Cancel(node.mapped().timer);
  if (node.mapped().fd) loop_.Unwatch(node.mapped().fd.get());
}

}  // namespace closeranks::net
