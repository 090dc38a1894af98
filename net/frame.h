// The one frame that every stream of Closeranks carries: control links (membership, session) and
// the TCP transport of collectives alike. A frame is a fixed header and then `length` bytes of
// payload.
//
//   offset  0  magic            u32
//           4  version          u8
//           5  kind             u8
//           6  flags            u16   low byte: net's own; high byte: free for the kind's owner
//           8  generation       u64
//          16  tag              u64   meaning is the kind's owner's
//          24  length           u32   bytes of payload, at most kMaxPayload
//          28  payload_checksum u32   0 when flags has kFrameUnchecked
//          32  header_checksum  u32   XXH32 of the 32 bytes before it
//
// All integers are little-endian. The header's checksum catches every change within one 32-bit word
// (XXH32 is a bijection of each of its input words), so a flipped bit never becomes a wrong length.
// Checksums find accidents, not attackers: who is on the other side is the handshake's business.
//
// Everything here is a plain function or value: no I/O, any thread.
#ifndef CLOSERANKS_NET_FRAME_H_
#define CLOSERANKS_NET_FRAME_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/member.h"
#include "base/status.h"

namespace closeranks::net {

inline constexpr uint32_t kFrameMagic = 0x4b4e5243;  // "CRNK" in memory
inline constexpr uint8_t kFrameVersion = 1;
inline constexpr size_t kFrameHeaderBytes = 36;
inline constexpr uint32_t kMaxPayload = 64u << 20;  // bytes

// What a frame is about. net itself only tells the kinds apart; their payloads belong to the layers
// above. The number stands on the wire: never reuse one.
enum class FrameKind : uint8_t {
  kHello = 1,         // handshake: who I am and what I run
  kHelloAnswer = 2,   // handshake: the same from the other side, and its proof of the key
  kHelloProof = 3,    // handshake: the first side's proof of the key
  kHelloRefused = 4,  // handshake: why not, for the other side's message
  kControl = 5,       // membership and session
  kData = 6,          // a piece of a collective or of a state transfer
  kHeartbeat = 7,     // I am alive; usually no payload
};
// "kControl"; "unknown" for a number that is none of them.
std::string_view FrameKindName(FrameKind kind);

// Flags of net's own. Other bits of the low byte must be 0.
inline constexpr uint16_t kFrameUnchecked = 0x0001;  // payload_checksum is 0 and isn't looked at
// A descriptor rides with it; set by Link::Send.
inline constexpr uint16_t kFrameCarriesFd = 0x0002;
inline constexpr uint16_t kFrameOwnFlags = 0x00ff;   // net's
inline constexpr uint16_t kFrameUserFlags = 0xff00;  // the kind's owner's

struct FrameHeader {
  FrameKind kind = FrameKind::kControl;
  uint16_t flags = 0;
  Generation generation = 0;
  uint64_t tag = 0;
  uint32_t length = 0;  // bytes of payload
  uint32_t payload_checksum = 0;

  bool operator==(const FrameHeader&) const = default;
};

struct Frame {
  FrameHeader header;
  std::string payload;

  bool operator==(const Frame&) const = default;
};

using EncodedFrameHeader = std::array<char, kFrameHeaderBytes>;

// The low 32 bits of XXH3-64.
uint32_t PayloadChecksum(std::span<const char> payload);

// `header` with the length and checksum of `payload` (0 with kFrameUnchecked). The payload must not
// be longer than kMaxPayload (CHECK).
FrameHeader WithPayload(FrameHeader header, std::span<const char> payload);

// The bytes on the wire. length and payload_checksum are taken as they are.
EncodedFrameHeader EncodeFrameHeader(const FrameHeader& header);

// Header and payload in one string: WithPayload, EncodeFrameHeader, payload.
std::string EncodeFrame(const FrameHeader& header, std::string_view payload);

// `bytes` must be exactly kFrameHeaderBytes long. kMismatch, saying what was there and what was
// expected, when it isn't a frame of ours, of this version, within the bounds and unharmed.
Result<FrameHeader> ParseFrameHeader(std::span<const char> bytes);

// kMismatch when the payload isn't what the header promises.
Status CheckPayload(const FrameHeader& header, std::span<const char> payload);

// Cuts a stream of bytes into frames. Holds at most one frame that isn't whole yet, and of that
// only the bytes that came, whatever length was announced: so a peer can make us hold no more than
// it sent. Not thread-safe.
class FrameReader {
 public:
  // Longer payloads than `max_payload` bytes are refused: small before a handshake.
  explicit FrameReader(uint32_t max_payload = kMaxPayload) : max_payload_(max_payload) {}

  // Takes bytes from the front of `*bytes` until a frame is whole, and returns it; when there is
  // none, everything was taken. Call again while `*bytes` isn't empty. An error (see
  // ParseFrameHeader and CheckPayload) is final: the place where the next frame starts is lost, and
  // each later call returns it again.
  Result<std::optional<Frame>> Next(std::string_view* bytes);

  // Applies from the next header on.
  void set_max_payload(uint32_t max_payload) { max_payload_ = max_payload; }

  // Bytes until the header or the payload that is being read is whole; never 0.
  size_t BytesWanted() const;

  // In the middle of a frame: an end of the stream here is a torn frame.
  bool InFrame() const { return header_bytes_ > 0; }

 private:
  Result<std::optional<Frame>> Fail(Status status);

  uint32_t max_payload_;
  EncodedFrameHeader header_buffer_{};
  size_t header_bytes_ = 0;  // of header_buffer_ that came
  Frame frame_;              // its header is valid once header_bytes_ == kFrameHeaderBytes
  Status failure_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_FRAME_H_
