#include "elastic/contact_card.h"

#include <sys/stat.h>

#include "base/bytes.h"
#include "base/files.h"

namespace closeranks::elastic {

std::string ContactCard::Encode() const {
  ByteWriter writer;
  writer.PutString(host);
  writer.PutString(unix_name);
  writer.PutString(data_address);
  return std::move(writer).bytes();
}

Result<ContactCard> ContactCard::Decode(std::string_view bytes) {
  ByteReader reader(bytes);
  ContactCard card;
  card.host = reader.GetString();
  card.unix_name = reader.GetString();
  card.data_address = reader.GetString();
  if (!reader.AtEnd()) return InvalidArgument("a malformed contact card");
  return card;
}

std::string ThisHost() {
  SystemFiles files;
  auto boot = files.Read("/proc/sys/kernel/random/boot_id");
  std::string host = boot.ok() ? *boot : "";
  while (!host.empty() && host.back() == '\n') host.pop_back();
  struct stat network {};
  if (stat("/proc/self/ns/net", &network) == 0) host += "/" + std::to_string(network.st_ino);
  return host;
}

}  // namespace closeranks::elastic
