// What a connecting side says first, in plain text, so that the one port of a pod can serve all of
// its processes: the supervisor reads exactly these bytes and passes the connection on to the
// process they name, before any handshake. Nothing in it is proven; the handshake proves or refuses
// it.
#ifndef CLOSERANKS_NET_PREAMBLE_H_
#define CLOSERANKS_NET_PREAMBLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/member.h"
#include "base/status.h"

namespace closeranks::net {

inline constexpr uint32_t kPreambleMagic = 0x524f4f44;  // "DOOR" in memory
inline constexpr uint8_t kPreambleVersion = 1;
inline constexpr size_t kPreambleBytes = 40;

// What the connection is for. The number stands on the wire.
enum class ConnectionRole : uint8_t {
  kMembership = 1,  // agreement, detection: goes to the acceptor
  kData = 2,        // collectives and state transfer: goes to the worker
};

// On the wire, little-endian: magic u32, version u8, role u8, zero u16, job u64, destination's
// member i32 and incarnation (high u64, low u64), sender's member i32.
struct Preamble {
  ConnectionRole role = ConnectionRole::kMembership;
  uint64_t job_hash = 0;      // HashJobName of the job's name
  MemberProcess destination;  // incarnation none: whichever process of the member is there now
  MemberId sender = -1;

  bool operator==(const Preamble&) const = default;
};

// The same on every machine and in every build.
uint64_t HashJobName(std::string_view job);

// kPreambleBytes bytes.
std::string EncodePreamble(const Preamble& preamble);

// kMismatch, naming what was there and what was expected. `bytes` must be kPreambleBytes long.
Result<Preamble> ParsePreamble(std::span<const char> bytes);

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_PREAMBLE_H_
