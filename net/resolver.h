// From names to addresses, as a seam.
#ifndef CLOSERANKS_NET_RESOLVER_H_
#define CLOSERANKS_NET_RESOLVER_H_

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "net/address.h"

namespace closeranks::net {

// Single-threaded, on its loop. What it says is a hint, never a proof: a name may lead to nobody,
// to two processes or to the wrong one. Connect, shake hands, and believe that.
class Resolver {
 public:
  // At least one address, each once, all numeric, in the order in which they were answered; or
  // kUnavailable (there is no such name now: a pod without an IP has none), naming the name and
  // what the servers said.
  using Callback = std::function<void(Result<std::vector<Address>>)>;

  // No callback comes after this.
  virtual ~Resolver() = default;

  // Every call calls back exactly once, never from inside.

  // The addresses of a host, with the port of the question. Numeric and Unix addresses resolve to
  // themselves.
  virtual void Resolve(const Address& address, Callback callback) = 0;
  // Where the instances of a service are, by its SRV records: `service` is "trainer" or
  // "trainer.jobs.svc.cluster.local.", `port` the name of its TCP port. Each comes with its port.
  // An instance whose own name leads nowhere (any more, or yet) is left out.
  virtual void ResolveService(const std::string& service, const std::string& port,
                              Callback callback) = 0;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_RESOLVER_H_
