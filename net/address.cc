#include "net/address.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

namespace closeranks::net {
namespace {

constexpr std::string_view kUnixPrefix = "unix:@";
// Of an abstract name, whose first byte is 0 and whose end is told by the length.
constexpr size_t kMaxUnixName = sizeof(sockaddr_un::sun_path) - 1;

Status Unreadable(std::string_view text, std::string_view why) {
  return InvalidArgument("address \"" + std::string(text) + "\": " + std::string(why) +
                         " (expected HOST:PORT, [IPV6]:PORT or unix:@NAME)");
}

Result<Address> ParseUnix(std::string_view text) {
  const std::string_view name = text.substr(kUnixPrefix.size());
  if (name.empty()) return Unreadable(text, "the name is empty");
  if (name.size() > kMaxUnixName) return Unreadable(text, "the name is too long");
  return Address::Unix(std::string(name));
}

Result<SocketAddress> UnixSocketAddress(const std::string& name) {
  if (name.size() > kMaxUnixName) {
    return InvalidArgument("unix:@" + name + ": the name is longer than " +
                           std::to_string(kMaxUnixName) + " bytes");
  }
  SocketAddress result;
  auto* address = reinterpret_cast<sockaddr_un*>(&result.storage);
  address->sun_family = AF_UNIX;
  name.copy(address->sun_path + 1, name.size());
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

Result<SocketAddress> NumericSocketAddress(const Address& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return InvalidArgument(address.ToString() + ": not an IP address: " + gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  SocketAddress result;
  std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
  result.length = found->ai_addrlen;
  return result;
}

}  // namespace

Result<Address> Address::Parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) return ParseUnix(text);
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Unreadable(text, "no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size()) {
    return Unreadable(text, "the port isn't a number from 0 to 65535");
  }
  const bool in_brackets = host.starts_with('[') && host.ends_with(']');
  if (in_brackets) host = host.substr(1, host.size() - 2);
  if (host.empty()) return Unreadable(text, "no host");
  if (!in_brackets && host.find(':') != std::string_view::npos) {
    return Unreadable(text, "an IPv6 address needs brackets before its port");
  }
  if (host.find_first_of("[] \t\n/") != std::string_view::npos || host.find('\0') != host.npos) {
    return Unreadable(text, "the host has characters that no host has");
  }
  Address address = Ip(std::string(host), port);
  if (in_brackets && (host.find(':') == std::string_view::npos || !address.IsNumeric())) {
    return Unreadable(text, "what is in brackets isn't an IPv6 address");
  }
  return address;
}

bool Address::IsLoopback() const {
  if (IsUnix()) return true;
  const Result<SocketAddress> address = NumericSocketAddress(*this);
  if (!address.ok()) return false;
  if (address->family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address->get());
    return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address->get());
  return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) != 0;
}

bool Address::IsNumeric() const {
  if (IsUnix()) return true;
  return NumericSocketAddress(*this).ok();
}

std::string Address::ToString() const {
  if (IsUnix()) return std::string(kUnixPrefix) + unix_name;
  const bool is_ip6 = host.find(':') != std::string::npos;
  return (is_ip6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::ostream& operator<<(std::ostream& out, const Address& address) {
  return out << address.ToString();
}

Result<SocketAddress> ToSocketAddress(const Address& address) {
  if (address.IsUnix()) return UnixSocketAddress(address.unix_name);
  return NumericSocketAddress(address);
}

Address FromSocketAddress(const SocketAddress& address) {
  if (address.family() == AF_UNIX) {
    const auto* unix_address = reinterpret_cast<const sockaddr_un*>(&address.storage);
    const size_t name_offset = offsetof(sockaddr_un, sun_path) + 1;
    if (address.length <= name_offset || unix_address->sun_path[0] != '\0') return {};
    return Address::Unix({unix_address->sun_path + 1, address.length - name_offset});
  }
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(address.get(), address.length, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  return Address::Ip(host, static_cast<uint16_t>(std::stoi(port)));
}

Result<std::vector<std::string>> OwnAddresses() {
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) {
    return Unavailable(std::string("the interfaces of this host can't be listed: ") +
                       std::strerror(errno));
  }
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(interfaces, &freeifaddrs);
  std::vector<std::string> addresses;
  for (int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* entry = interfaces; entry != nullptr; entry = entry->ifa_next) {
      const bool is_candidate =
          entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == family &&
          (entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_LOOPBACK) == 0;
      if (!is_candidate) continue;
      SocketAddress address;
      address.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
      std::memcpy(&address.storage, entry->ifa_addr, address.length);
      std::string host = FromSocketAddress(address).host;
      // A link-local one needs the name of the caller's own interface.
      if (host.empty() || host.find('%') != std::string::npos) continue;
      addresses.push_back(std::move(host));
    }
  }
  if (addresses.empty()) {
    return Unavailable("this host has no address but loopback; give it with --advertise");
  }
  return addresses;
}

Address LocalAddress(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (getsockname(fd, address.get(), &address.length) != 0) return {};
  return FromSocketAddress(address);
}

Address PeerAddress(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (getpeername(fd, address.get(), &address.length) != 0) return {};
  return FromSocketAddress(address);
}

}  // namespace closeranks::net
