// Where the other supervisors of a job may be found.
//
// What a Source finds is a hint: an address may be stale, this process's own, or a stranger's. Who
// is there is decided by the handshake, and who is alive by the membership.
#ifndef CLOSERANKS_RENDEZVOUS_DISCOVERY_H_
#define CLOSERANKS_RENDEZVOUS_DISCOVERY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/member.h"
#include "base/status.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/resolver.h"

namespace closeranks::rendezvous {

// Where to look, as a user says it. Exactly one of the three is set.
struct Whereabouts {
  // A fixed list: of each host, the address of its supervisor.
  std::vector<net::Address> hosts;
  // A name whose addresses are those of all hosts, such as a headless Service's, with a port: a
  // number, or the name of one that SRV records give.
  std::string service;
  std::string port;
  // A folder that all hosts share; each supervisor leaves its address there.
  std::string folder;

  // "10.0.0.1:29400,10.0.0.2:29400", "dns:trainer:29400", "dns:trainer:rendezvous" or
  // "file:/shared/rendezvous". kInvalidArgument names what is wrong.
  static Result<Whereabouts> Parse(std::string_view text);
  bool IsList() const { return !hosts.empty(); }
  // The service's, 0 where it is named or there is none.
  uint16_t PortNumber() const;
};

// Single-threaded, on the loop.
class Source {
 public:
  // At least one address, all numeric, each once.
  using Callback = std::function<void(Result<std::vector<net::Address>>)>;

  // No callback comes after this.
  virtual ~Source() = default;
  // Looks anew. Calls back exactly once, never from inside. One question at a time.
  virtual void Find(Callback callback) = 0;
  // For people: "trainer-1:29400", "the service trainer".
  virtual const std::string& name() const = 0;
};

// One host of a list, whose name may have several addresses. `resolver` outlives it.
std::unique_ptr<Source> MakeHostSource(net::Resolver& resolver, net::Address address);

// All addresses of the service that `where` names. `resolver` outlives it.
std::unique_ptr<Source> MakeServiceSource(net::Resolver& resolver, const Whereabouts& where);

// The addresses in a folder's files for `job`, one for each supervisor: JOB.MEMBER. The own one is
// among them, `own_address`: written with the first Find and again whenever it isn't there, removed
// at the end, unless a successor's is there by then. Other jobs may use the same folder. It may be
// slow or hang: it is only touched by a thread of its own, for which the end waits a second at
// most. `loop` outlives the source; `files` is kept until that thread is through.
std::unique_ptr<Source> MakeFolderSource(net::Loop& loop, std::shared_ptr<Files> files,
                                         std::string folder, const std::string& job, MemberId self,
                                         std::string own_address);

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_DISCOVERY_H_
