// Whatever a peer sends, a FrameReader refuses it or hands out frames that are what they claim to
// be, and the same ones however the bytes arrive. The first byte of an input says in which pieces,
// and its highest bit whether the frames are sealed anew: a changed header or payload fails its
// checksum, and only what has a right one comes to the checks behind it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "glog/logging.h"
#include "net/frame.h"

namespace closeranks::net {
namespace {

struct Outcome {
  std::vector<Frame> frames;
  Status end;
  bool in_frame = false;

  bool operator==(const Outcome&) const = default;
};

Outcome ReadInPieces(std::string_view bytes, size_t piece) {
  FrameReader reader(/*max_payload=*/1 << 16);
  Outcome outcome;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!part.empty()) {
      CHECK_GT(reader.BytesWanted(), 0u);
      Result<std::optional<Frame>> frame = reader.Next(&part);
      if (!frame.ok()) {
        outcome.end = frame.status();
        return outcome;
      }
      if (!frame->has_value()) {
        CHECK(part.empty());
        break;
      }
      CHECK(CheckPayload((*frame)->header, (*frame)->payload).ok());
      outcome.frames.push_back(**std::move(frame));
    }
  }
  outcome.in_frame = reader.InFrame();
  return outcome;
}

// The same frames, as far as they are whole, with the magic, version and checksums that they need.
std::string Sealed(std::string bytes) {
  auto load = [&bytes](size_t at, auto& field) {
    std::memcpy(&field, bytes.data() + at, sizeof(field));
  };
  size_t begin = 0;
  while (bytes.size() - begin >= kFrameHeaderBytes) {
    FrameHeader header;
    load(begin + 5, header.kind);
    load(begin + 6, header.flags);
    load(begin + 8, header.generation);
    load(begin + 16, header.tag);
    load(begin + 24, header.length);
    load(begin + 28, header.payload_checksum);
    const size_t payload = begin + kFrameHeaderBytes;
    const bool is_whole = header.length <= bytes.size() - payload;
    if (is_whole && (header.flags & kFrameUnchecked) == 0) {
      header.payload_checksum = PayloadChecksum(std::span(bytes).subspan(payload, header.length));
    }
    const EncodedFrameHeader sealed = EncodeFrameHeader(header);
    std::memcpy(bytes.data() + begin, sealed.data(), sealed.size());
    if (!is_whole) break;
    begin = payload + header.length;
  }
  return bytes;
}

void CheckRoundTrip(const Frame& frame) {
  const EncodedFrameHeader bytes = EncodeFrameHeader(frame.header);
  CHECK(ParseFrameHeader(bytes).value() == frame.header);
}

}  // namespace
}  // namespace closeranks::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace closeranks::net;
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] & 0x80) bytes = Sealed(std::move(bytes));
  const Outcome whole = ReadInPieces(bytes, size);
  const Outcome pieces = ReadInPieces(bytes, data[0] % 64 + 1);
  CHECK(whole == pieces);
  for (const Frame& frame : whole.frames) CheckRoundTrip(frame);
  return 0;
}
