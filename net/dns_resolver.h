// The resolver of the product: asks DNS servers, by c-ares.
#ifndef CLOSERANKS_NET_DNS_RESOLVER_H_
#define CLOSERANKS_NET_DNS_RESOLVER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/loop.h"
#include "net/resolver.h"

struct ares_channeldata;

namespace closeranks::net {

// Literals and "localhost" without asking anybody, then /etc/hosts, then the servers and search
// domains of /etc/resolv.conf. A name that ends in a dot or in one of these domains is whole and
// asked for only as it is: with the ndots:5 of a pod each question would become four. Questions go
// out in parallel, for IPv4 and IPv6 at once; an answer that UDP cuts short is asked for again over
// TCP; a server that fails or is silent is passed over for the next. Nothing is cached: what isn't
// there now may be there in a second, and the servers have caches of their own.
class DnsResolver final : public Resolver {
 public:
  struct Options {
    Duration server_timeout = std::chrono::seconds(1);  // for the first answer; then doubled
    int rounds = 2;                                     // over all servers
    // For tests; empty: those of /etc/resolv.conf.
    std::vector<Address> servers;
    std::vector<std::string> search_domains;
  };

  // `loop` outlives the resolver.
  explicit DnsResolver(Loop& loop) : DnsResolver(loop, Options()) {}
  DnsResolver(Loop& loop, Options options);
  ~DnsResolver() override;
  DnsResolver(const DnsResolver&) = delete;
  DnsResolver& operator=(const DnsResolver&) = delete;

  void Resolve(const Address& address, Callback callback) override;
  void ResolveService(const std::string& service, const std::string& port,
                      Callback callback) override;

 private:
  struct Question;
  struct ServiceQuestion;

  bool IsInHostsFile(const std::string& name) const;
  // With a dot at its end where the name is whole: nothing is to be put behind it.
  std::string Whole(const std::string& name) const;
  void Ask(const Address& address, Callback callback);
  void AnswerLater(Callback callback, Result<std::vector<Address>> answer);
  void OnService(std::shared_ptr<ServiceQuestion> question, int status, const unsigned char* reply,
                 int length);
  void OnSocketState(int fd, bool readable, bool writable);
  void OnReady(int fd, Ready ready);
  void SetTimer();

  Loop& loop_;
  ares_channeldata* channel_ = nullptr;
  Status broken_;  // why there is no channel
  std::vector<std::string> search_domains_;
  std::set<int> watched_;
  TimerId timer_ = kNoTimer;
  // Expires with the resolver, so that what was posted before doesn't run after.
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_DNS_RESOLVER_H_
