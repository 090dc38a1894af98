#include "net/preamble.h"

#include <sstream>
#include <utility>

#include "base/bytes.h"
#include "glog/logging.h"
#include "xxhash.h"

namespace closeranks::net {
namespace {

Status Differs(std::string_view what, uint64_t got, uint64_t expected) {
  std::ostringstream message;
  message << "preamble: " << what << " is 0x" << std::hex << got << ", expected 0x" << expected;
  return Mismatch(message.str());
}

}  // namespace

uint64_t HashJobName(std::string_view job) { return XXH3_64bits(job.data(), job.size()); }

std::string EncodePreamble(const Preamble& preamble) {
  ByteWriter writer;
  writer.Put(kPreambleMagic);
  writer.Put(kPreambleVersion);
  writer.Put(static_cast<uint8_t>(preamble.role));
  writer.Put(uint16_t{0});
  writer.Put(preamble.job_hash);
  writer.Put(preamble.destination);
  writer.Put(preamble.sender);
  std::string bytes = std::move(writer).bytes();
  CHECK_EQ(bytes.size(), kPreambleBytes);
  return bytes;
}

Result<Preamble> ParsePreamble(std::span<const char> bytes) {
  if (bytes.size() != kPreambleBytes) return Differs("length", bytes.size(), kPreambleBytes);
  ByteReader reader({bytes.data(), bytes.size()});
  const auto magic = reader.Get<uint32_t>();
  if (magic != kPreambleMagic) return Differs("magic", magic, kPreambleMagic);
  const auto version = reader.Get<uint8_t>();
  if (version != kPreambleVersion) return Differs("version", version, kPreambleVersion);
  const auto role = reader.Get<uint8_t>();
  if (role != static_cast<uint8_t>(ConnectionRole::kMembership) &&
      role != static_cast<uint8_t>(ConnectionRole::kData)) {
    return Mismatch("preamble: unknown role " + std::to_string(role));
  }
  if (const auto zero = reader.Get<uint16_t>(); zero != 0) return Differs("padding", zero, 0);
  Preamble preamble;
  preamble.role = static_cast<ConnectionRole>(role);
  preamble.job_hash = reader.Get<uint64_t>();
  preamble.destination = reader.GetMemberProcess();
  preamble.sender = reader.Get<MemberId>();
  CHECK(reader.AtEnd());
  return preamble;
}

}  // namespace closeranks::net
