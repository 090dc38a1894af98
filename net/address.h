// Where somebody can be reached: an IP endpoint, a name with a port that a Resolver turns into
// some, or a Unix socket of this host.
#ifndef CLOSERANKS_NET_ADDRESS_H_
#define CLOSERANKS_NET_ADDRESS_H_

#include <sys/socket.h>

#include <compare>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace closeranks::net {

// A value. Either `unix_name` is set (an abstract Unix socket: no file, and gone with its owner),
// or `host` is: an IPv4 or IPv6 literal (without brackets) or a name.
struct Address {
  std::string host;
  uint16_t port = 0;  // 0 with Listen: any free one
  std::string unix_name;

  static Address Ip(std::string host, uint16_t port) { return {std::move(host), port, {}}; }
  static Address Unix(std::string name) { return {{}, 0, std::move(name)}; }

  // "10.0.0.7:29400", "[fe80::1%eth0]:29400", "trainer-0.trainer:29400" or "unix:@closeranks-4711".
  // kInvalidArgument, naming what is wrong with it.
  static Result<Address> Parse(std::string_view text);

  bool IsUnix() const { return !unix_name.empty(); }
  // Connectable as it is, without a Resolver.
  bool IsNumeric() const;
  // Every address of this host: to listen on, not to connect to.
  bool IsWildcard() const { return host == "0.0.0.0" || host == "::"; }
  // Not reachable from other hosts: a literal of 127.0.0.0/8, ::1 or a Unix name.
  bool IsLoopback() const;
  // What Parse reads.
  std::string ToString() const;

  auto operator<=>(const Address&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Address& address);

// The form that the kernel takes.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// kInvalidArgument when `address` is a name (resolve it first) or a Unix name that is too long.
Result<SocketAddress> ToSocketAddress(const Address& address);

// An unnamed Unix socket, as the connecting side has, gives an Address with nothing set.
Address FromSocketAddress(const SocketAddress& address);

// The literals of this host's own, other than loopback, at least one: IPv4 before IPv6, each in the
// order of the interfaces. kUnavailable when there is none.
Result<std::vector<std::string>> OwnAddresses();

// The two ends of a connected socket, or nothing set when it isn't connected.
Address LocalAddress(int fd);
Address PeerAddress(int fd);

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_ADDRESS_H_
