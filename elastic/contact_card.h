// How a worker's peers reach it: what the agreement carries for each worker without looking at it.
#ifndef CLOSERANKS_ELASTIC_CONTACT_CARD_H_
#define CLOSERANKS_ELASTIC_CONTACT_CARD_H_

#include <string>
#include <string_view>

#include "base/status.h"

namespace closeranks::elastic {

struct ContactCard {
  // Equal for processes that share memory and abstract Unix sockets: one boot of one kernel, one
  // network namespace.
  std::string host;
  std::string unix_name;  // where it listens for peers of its host
  // The pod's port, for the others: "host:port", empty when there is none.
  std::string data_address;
  bool operator==(const ContactCard&) const = default;

  std::string Encode() const;
  static Result<ContactCard> Decode(std::string_view bytes);
};

// This process's ContactCard::host.
std::string ThisHost();

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_CONTACT_CARD_H_
