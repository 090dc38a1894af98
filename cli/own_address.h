// Where this host's supervisor listens, and where the other hosts reach it: the flags of
// `closeranks run` that say so.
#ifndef CLOSERANKS_CLI_OWN_ADDRESS_H_
#define CLOSERANKS_CLI_OWN_ADDRESS_H_

#include <functional>
#include <vector>

#include "base/status.h"
#include "cli/hosts.h"
#include "closeranks/environment.h"
#include "net/address.h"

namespace closeranks::cli {

struct OwnAddress {
  net::Address listen;
  // A literal, or the name in the list where nothing else says it: to be turned into a literal, as
  // workers connect without a resolver. Port 0: the one that is listened on.
  net::Address advertised;
};

// From the flags, and `hosts` and the environment where they don't say it. kInvalidArgument names
// the flag or variable, its value and what is expected; kUnavailable: this host has no address.
Result<OwnAddress> ParseOwnAddress(const Hosts& hosts, const Environment& environment);

// The addresses of a name, as net::Resolver has them. Waits for the answer.
using NameLookup = std::function<Result<std::vector<net::Address>>(const net::Address& name)>;
// Asks this host's DNS.
Result<std::vector<net::Address>> LookUp(const net::Address& name);

// The address of this host, whose name this is, that others are to use: one that the name leads to,
// unless that is none of this host's. Port 0. kUnavailable: this host has none.
Result<net::Address> OwnLiteral(const net::Address& name, const NameLookup& look_up);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_OWN_ADDRESS_H_
