#include "net/system_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "glog/logging.h"
#include "net/address.h"

namespace closeranks::net {
namespace {

// With one message; who sends more isn't one of ours.
constexpr size_t kMostPassed = 16;

// False when the kernel had no descriptor left to receive one.
bool TakePassed(msghdr& message, std::vector<std::unique_ptr<Socket>>& passed) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      passed.push_back(std::make_unique<SystemSocket>(UniqueFd(fd)));
    }
  }
  return (message.msg_flags & MSG_CTRUNC) == 0;
}

}  // namespace

SystemSocket::SystemSocket(UniqueFd fd) : fd_(std::move(fd)) {
  const int flags = fcntl(fd_.get(), F_GETFL);
  PCHECK(flags >= 0 && fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK) == 0)
      << "descriptor " << fd_.get();
  int domain = AF_UNSPEC;  // stays so for what isn't a socket
  socklen_t length = sizeof(domain);
  (void)getsockopt(fd_.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length);
  is_unix_ = domain == AF_UNIX;
  const int on = 1;
  if (domain == AF_INET || domain == AF_INET6) {
    (void)setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
}

Result<std::pair<std::unique_ptr<Socket>, std::unique_ptr<Socket>>> SystemSocket::MakePair() {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return ErrnoStatus(errno, "making a pair of sockets");
  }
  std::unique_ptr<Socket> one = std::make_unique<SystemSocket>(UniqueFd(ends[0]));
  std::unique_ptr<Socket> other = std::make_unique<SystemSocket>(UniqueFd(ends[1]));
  return std::pair(std::move(one), std::move(other));
}

ssize_t SystemSocket::Receive(std::span<const iovec> parts,
                              std::vector<std::unique_ptr<Socket>>* passed) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostPassed * sizeof(int))> control;
  if (passed != nullptr && is_unix_) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  ssize_t received;
  do {
    received = recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received >= 0 && message.msg_control != nullptr && !TakePassed(message, *passed)) {
    errno = EMFILE;
    return -1;
  }
  return received;
}

ssize_t SystemSocket::Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (passed != nullptr) {
    CHECK(is_unix_) << "sockets pass over Unix sockets only";
    const int fd = (*passed)->descriptor();
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
  }
  ssize_t sent;
  do {
    sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  // The peer has it; ours isn't needed any more.
  if (sent > 0 && passed != nullptr) passed->reset();
  return sent;
}

void SystemSocket::GiveUpAfter(Duration silence) {
  if (is_unix_) return;
  const auto milliseconds = static_cast<unsigned>(ToMilliseconds(silence));
  // Where the kernel doesn't know it, the connection fails later.
  (void)setsockopt(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
}

void SystemSocket::FinishSending() { shutdown(fd_.get(), SHUT_WR); }

std::string SystemSocket::peer() const {
  if (!is_unix_) return PeerAddress(fd_.get()).ToString();
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length);
  return "process " + std::to_string(credentials.pid);
}

}  // namespace closeranks::net
