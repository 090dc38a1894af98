#include "net/frame.h"

#include <algorithm>
#include <cstring>
#include <sstream>
#include <utility>

#include "glog/logging.h"
#include "xxhash.h"

namespace closeranks::net {
namespace {

constexpr size_t kChecksummedBytes = kFrameHeaderBytes - sizeof(uint32_t);

template <typename T>
void Store(EncodedFrameHeader& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

template <typename T>
T Load(std::span<const char> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

template <typename T>
Status Differs(std::string_view what, T got, T expected) {
  std::ostringstream message;
  message << "frame header: " << what << " is 0x" << std::hex << static_cast<uint64_t>(got)
          << ", expected 0x" << static_cast<uint64_t>(expected);
  return Mismatch(message.str());
}

Status TooLong(uint64_t length, uint64_t limit) {
  return Mismatch("frame header: a payload of " + std::to_string(length) + " bytes, and at most " +
                  std::to_string(limit) + " are accepted here");
}

bool IsKnown(FrameKind kind) { return FrameKindName(kind) != "unknown"; }

}  // namespace

std::string_view FrameKindName(FrameKind kind) {
  switch (kind) {
    case FrameKind::kHello:
      return "kHello";
    case FrameKind::kHelloAnswer:
      return "kHelloAnswer";
    case FrameKind::kHelloProof:
      return "kHelloProof";
    case FrameKind::kHelloRefused:
      return "kHelloRefused";
    case FrameKind::kControl:
      return "kControl";
    case FrameKind::kData:
      return "kData";
    case FrameKind::kHeartbeat:
      return "kHeartbeat";
  }
  return "unknown";
}

uint32_t PayloadChecksum(std::span<const char> payload) {
  return static_cast<uint32_t>(XXH3_64bits(payload.data(), payload.size()));
}

FrameHeader WithPayload(FrameHeader header, std::span<const char> payload) {
  CHECK_LE(payload.size(), kMaxPayload);
  header.length = static_cast<uint32_t>(payload.size());
  header.payload_checksum = (header.flags & kFrameUnchecked) ? 0 : PayloadChecksum(payload);
  return header;
}

EncodedFrameHeader EncodeFrameHeader(const FrameHeader& header) {
  EncodedFrameHeader bytes;
  Store(bytes, 0, kFrameMagic);
  Store(bytes, 4, kFrameVersion);
  Store(bytes, 5, static_cast<uint8_t>(header.kind));
  Store(bytes, 6, header.flags);
  Store(bytes, 8, header.generation);
  Store(bytes, 16, header.tag);
  Store(bytes, 24, header.length);
  Store(bytes, 28, header.payload_checksum);
  Store(bytes, kChecksummedBytes, static_cast<uint32_t>(XXH32(bytes.data(), kChecksummedBytes, 0)));
  return bytes;
}

std::string EncodeFrame(const FrameHeader& header, std::string_view payload) {
  const EncodedFrameHeader head = EncodeFrameHeader(WithPayload(header, payload));
  std::string bytes;
  bytes.reserve(head.size() + payload.size());
  bytes.append(head.data(), head.size());
  bytes.append(payload);
  return bytes;
}

Result<FrameHeader> ParseFrameHeader(std::span<const char> bytes) {
  if (bytes.size() != kFrameHeaderBytes) {
    return Mismatch("frame header: " + std::to_string(bytes.size()) + " bytes, expected " +
                    std::to_string(kFrameHeaderBytes));
  }
  // Magic and version go first: they tell a stranger and another build from a harmed frame.
  const auto magic = Load<uint32_t>(bytes, 0);
  if (magic != kFrameMagic) return Differs("magic", magic, kFrameMagic);
  const auto version = Load<uint8_t>(bytes, 4);
  if (version != kFrameVersion) return Differs("version", version, kFrameVersion);
  const auto checksum = Load<uint32_t>(bytes, kChecksummedBytes);
  const auto expected = static_cast<uint32_t>(XXH32(bytes.data(), kChecksummedBytes, 0));
  if (checksum != expected) return Differs("checksum", checksum, expected);

  FrameHeader header;
  header.kind = static_cast<FrameKind>(Load<uint8_t>(bytes, 5));
  header.flags = Load<uint16_t>(bytes, 6);
  header.generation = Load<uint64_t>(bytes, 8);
  header.tag = Load<uint64_t>(bytes, 16);
  header.length = Load<uint32_t>(bytes, 24);
  header.payload_checksum = Load<uint32_t>(bytes, 28);
  if (!IsKnown(header.kind)) {
    return Mismatch("frame header: unknown kind " + std::to_string(static_cast<int>(header.kind)));
  }
  if (header.flags & kFrameOwnFlags & ~(kFrameUnchecked | kFrameCarriesFd)) {
    return Mismatch("frame header: unknown flags " + std::to_string(header.flags));
  }
  if ((header.flags & kFrameUnchecked) && header.payload_checksum != 0) {
    return Mismatch("frame header: marked as unchecked, yet with a payload checksum");
  }
  if (header.length > kMaxPayload) return TooLong(header.length, kMaxPayload);
  return header;
}

Status CheckPayload(const FrameHeader& header, std::span<const char> payload) {
  if (payload.size() != header.length) {
    return Mismatch("frame payload: " + std::to_string(payload.size()) + " bytes, expected " +
                    std::to_string(header.length));
  }
  if (header.flags & kFrameUnchecked) return OkStatus();
  if (PayloadChecksum(payload) != header.payload_checksum) {
    return Mismatch("frame payload: wrong checksum (" + std::string(FrameKindName(header.kind)) +
                    ", " + std::to_string(header.length) + " bytes)");
  }
  return OkStatus();
}

size_t FrameReader::BytesWanted() const {
  if (header_bytes_ < kFrameHeaderBytes) return kFrameHeaderBytes - header_bytes_;
  return frame_.header.length - frame_.payload.size();
}

Result<std::optional<Frame>> FrameReader::Fail(Status status) {
  failure_ = std::move(status);
  frame_ = Frame{};
  return failure_;
}

Result<std::optional<Frame>> FrameReader::Next(std::string_view* bytes) {
  if (!failure_.ok()) return failure_;
  if (header_bytes_ < kFrameHeaderBytes) {
    const size_t taken = std::min(bytes->size(), kFrameHeaderBytes - header_bytes_);
    std::copy_n(bytes->data(), taken, header_buffer_.data() + header_bytes_);
    bytes->remove_prefix(taken);
    header_bytes_ += taken;
    if (header_bytes_ < kFrameHeaderBytes) return std::optional<Frame>();
    Result<FrameHeader> header = ParseFrameHeader(header_buffer_);
    if (!header.ok()) return Fail(header.status());
    if (header->length > max_payload_) return Fail(TooLong(header->length, max_payload_));
    frame_.header = *header;
  }
  // Appending, not reserving: the memory held follows what came, not what was announced.
  const size_t missing = frame_.header.length - frame_.payload.size();
  const size_t taken = std::min(bytes->size(), missing);
  frame_.payload.append(bytes->substr(0, taken));
  bytes->remove_prefix(taken);
  if (taken < missing) return std::optional<Frame>();
  if (Status status = CheckPayload(frame_.header, frame_.payload); !status.ok()) {
    return Fail(std::move(status));
  }
  header_bytes_ = 0;
  return std::optional<Frame>(std::exchange(frame_, Frame{}));
}

}  // namespace closeranks::net
