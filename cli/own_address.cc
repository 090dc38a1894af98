#include "cli/own_address.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "net/dns_resolver.h"
#include "net/event_loop.h"

DEFINE_string(listen, "",
              "ADDRESS:PORT to listen on; by default this host's entry of --hosts (every address "
              "that it has, where that is a name) or its port, or 127.0.0.1 with MASTER_PORT or "
              "any free port. To be given where --hosts=dns:NAME:PORT names the port");
DEFINE_string(advertise, "",
              "IP address at which other hosts reach this one; by default this host's entry of "
              "--hosts, what it listens on, POD_IP or one that it has: the first, or one that its "
              "name in --hosts leads to");

namespace closeranks::cli {
namespace {

// What calls to any address of this host reach, IPv4 too.
constexpr char kEveryAddress[] = "::";

Result<net::Address> ListenAddress(const Hosts& hosts, const Environment& environment) {
  if (!FLAGS_listen.empty()) {
    auto listen = net::Address::Parse(FLAGS_listen);
    if (!listen.ok()) {
      return InvalidArgument("--listen=" + FLAGS_listen + ": " + listen.status().message());
    }
    if (!listen->IsNumeric()) {
      return InvalidArgument("--listen=" + FLAGS_listen +
                             ": expected an IP address of this host, " + "or [" + kEveryAddress +
                             "] for all that it has");
    }
    return listen;
  }
  if (!hosts.are_several) {
    return net::Address::Ip("127.0.0.1",
                            static_cast<uint16_t>(environment.master_port.value_or(0)));
  }
  const rendezvous::Whereabouts& where = hosts.where;
  if (!where.service.empty() && where.PortNumber() == 0) {
    return InvalidArgument("--hosts=dns:" + where.service + ":" + where.port +
                           " names its port, and not its number: give that with --listen=[" +
                           kEveryAddress + "]:PORT");
  }
  if (!where.IsList()) return net::Address::Ip(kEveryAddress, where.PortNumber());
  net::Address listen = where.hosts[hosts.index];
  // A name says how others reach this host; what it listens on is not to depend on the DNS.
  if (!listen.IsNumeric()) listen.host = kEveryAddress;
  return listen;
}

// What is to be given to others, and was said to be `what`.
Result<net::Address> Literal(const std::string& what, const std::string& host) {
  net::Address address = net::Address::Ip(host, 0);
  if (address.IsNumeric() && !address.IsWildcard()) return address;
  return InvalidArgument(what + "=" + host +
                         ": expected an IP address of this host, without a port and without "
                         "brackets, such as 10.0.0.5 or fd00::5");
}

Result<net::Address> AdvertisedAddress(const Hosts& hosts, const net::Address& listen,
                                       const Environment& environment) {
  if (!FLAGS_advertise.empty()) return Literal("--advertise", FLAGS_advertise);
  std::optional<net::Address> listed;
  if (hosts.where.IsList()) listed = hosts.where.hosts[hosts.index];
  if (listed.has_value() && listed->IsNumeric()) return *listed;
  if (!listen.IsWildcard()) return net::Address::Ip(listen.host, 0);
  if (environment.pod_ip.has_value()) {
    return Literal("the environment has POD_IP", *environment.pod_ip);
  }
  if (listed.has_value()) return *listed;
  ASSIGN_OR_RETURN(std::vector<std::string> own, net::OwnAddresses());
  return net::Address::Ip(own.front(), 0);
}

}  // namespace

Result<OwnAddress> ParseOwnAddress(const Hosts& hosts, const Environment& environment) {
  OwnAddress own;
  ASSIGN_OR_RETURN(own.listen, ListenAddress(hosts, environment));
  ASSIGN_OR_RETURN(own.advertised, AdvertisedAddress(hosts, own.listen, environment));
  return own;
}

Result<std::vector<net::Address>> LookUp(const net::Address& name) {
  SystemClock clock;
  net::EventLoop loop(clock);
  net::DnsResolver resolver(loop);
  std::optional<Result<std::vector<net::Address>>> answer;
  resolver.Resolve(name, [&](Result<std::vector<net::Address>> got) { answer = std::move(got); });
  while (!answer.has_value()) loop.PollOnce(Duration::max());
  return *std::move(answer);
}

// The name may lead elsewhere: on the host itself to 127.0.1.1, as some systems set it up, and
// everywhere, until that is forgotten, to the address that a lost pod had.
Result<net::Address> OwnLiteral(const net::Address& name, const NameLookup& look_up) {
  const auto found = look_up(name);
  const std::vector<net::Address> answers = found.ok() ? *found : std::vector<net::Address>();
  const auto own = net::OwnAddresses();
  if (!own.ok()) {
    // Then nobody is anywhere else.
    for (const net::Address& answer : answers) {
      if (answer.IsLoopback()) return net::Address::Ip(answer.host, 0);
    }
    return own.status();
  }
  for (const std::string& host : *own) {
    const bool is_meant = std::any_of(answers.begin(), answers.end(),
                                      [&](const net::Address& a) { return a.host == host; });
    if (is_meant) return net::Address::Ip(host, 0);
  }
  LOG(INFO) << name.host << " leads to no address of this host"
            << (found.ok() ? "" : " (" + found.status().message() + ")")
            << ", so the others are told " << own->front()
            << "; if they don't reach it there, give --advertise";
  return net::Address::Ip(own->front(), 0);
}

}  // namespace closeranks::cli
