// Whatever a peer sends, a FrameReader refuses it or hands out frames that are what they claim to
// be, and the same ones however the bytes arrive. The first byte of an input says in which pieces.
#include <cstddef>
#include <cstdint>
#include <optional>
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

void CheckRoundTrip(const Frame& frame) {
  const EncodedFrameHeader bytes = EncodeFrameHeader(frame.header);
  CHECK(ParseFrameHeader(bytes).value() == frame.header);
}

}  // namespace
}  // namespace closeranks::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace closeranks::net;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = ReadInPieces(bytes, size);
  const Outcome pieces = ReadInPieces(bytes, data[0] % 64 + 1);
  CHECK(whole == pieces);
  for (const Frame& frame : whole.frames) CheckRoundTrip(frame);
  return 0;
}
