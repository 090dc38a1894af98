#include "net/frame.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

FrameHeader SampleHeader() {
  FrameHeader header;
  header.kind = FrameKind::kData;
  header.flags = 0x0300;
  header.generation = 0x0123456789abcdef;
  header.tag = 0xfedcba9876543210;
  return WithPayload(header, std::string("the payload"));
}

std::string Bytes(const FrameHeader& header) {
  const EncodedFrameHeader bytes = EncodeFrameHeader(header);
  return std::string(bytes.data(), bytes.size());
}

// All frames of `bytes`, handed over `piece` bytes at a time; stops at the first error.
Result<std::vector<Frame>> ReadAll(FrameReader& reader, std::string_view bytes, size_t piece) {
  std::vector<Frame> frames;
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    while (!part.empty()) {
      ASSIGN_OR_RETURN(std::optional<Frame> frame, reader.Next(&part));
      if (frame) frames.push_back(*std::move(frame));
    }
  }
  return frames;
}

TEST(FrameHeader, SurvivesEncodingAndParsing) {
  const FrameHeader header = SampleHeader();
  Result<FrameHeader> parsed = ParseFrameHeader(EncodeFrameHeader(header));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, header);
}

TEST(FrameHeader, LooksOnTheWireAsDocumented) {
  FrameHeader header;
  header.kind = FrameKind::kControl;
  header.flags = 0x0102;
  header.generation = 3;
  header.tag = 4;
  header.length = 5;
  header.payload_checksum = 6;
  const std::string bytes = Bytes(header);
  EXPECT_EQ(bytes.substr(0, 4), "CRNK");
  EXPECT_EQ(bytes.substr(4, 4), std::string("\x01\x05\x02\x01", 4));
  EXPECT_EQ(bytes.substr(8, 24),
            std::string("\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x06\0\0\0", 24));
}

TEST(FrameHeader, EverySingleFlippedBitIsRefused) {
  const std::string whole = Bytes(SampleHeader());
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string harmed = whole;
    harmed[bit / 8] = static_cast<char>(harmed[bit / 8] ^ (1 << (bit % 8)));
    Result<FrameHeader> parsed = ParseFrameHeader(harmed);
    ASSERT_FALSE(parsed.ok()) << "bit " << bit;
    EXPECT_EQ(parsed.status().code(), StatusCode::kMismatch);
  }
}

TEST(FrameHeader, EveryOtherLengthIsRefused) {
  const std::string whole = Bytes(SampleHeader()) + "x";
  for (size_t length = 0; length <= whole.size(); ++length) {
    EXPECT_EQ(ParseFrameHeader(std::string_view(whole).substr(0, length)).ok(),
              length == kFrameHeaderBytes)
        << length;
  }
}

TEST(FrameHeader, ErrorsNameWhatWasThereAndWhatWasExpected) {
  std::string stranger = "GET / HTTP/1.1\r\nHost: closeranks\r\n\r\n";
  stranger.resize(kFrameHeaderBytes);
  EXPECT_EQ(ParseFrameHeader(stranger).status().message(),
            "frame header: magic is 0x20544547, expected 0x4b4e5243");

  std::string other_version = Bytes(SampleHeader());
  other_version[4] = 2;
  EXPECT_EQ(ParseFrameHeader(other_version).status().message(),
            "frame header: version is 0x2, expected 0x1");
}

TEST(FrameHeader, WellSealedNonsenseIsRefused) {
  FrameHeader too_long = SampleHeader();
  too_long.length = kMaxPayload + 1;
  FrameHeader unknown_kind = SampleHeader();
  unknown_kind.kind = static_cast<FrameKind>(200);
  FrameHeader unknown_flag = SampleHeader();
  unknown_flag.flags |= 0x0080;
  FrameHeader checked_and_not = SampleHeader();
  checked_and_not.flags |= kFrameUnchecked;
  for (const FrameHeader& header : {too_long, unknown_kind, unknown_flag, checked_and_not}) {
    EXPECT_EQ(ParseFrameHeader(EncodeFrameHeader(header)).status().code(), StatusCode::kMismatch);
  }
}

TEST(FramePayload, EverySingleFlippedBitIsRefusedUnlessUnchecked) {
  const std::string payload = "the payload";
  const FrameHeader checked = SampleHeader();
  FrameHeader unchecked = checked;
  unchecked.flags |= kFrameUnchecked;
  unchecked = WithPayload(unchecked, payload);
  EXPECT_TRUE(CheckPayload(checked, payload).ok());
  for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
    std::string harmed = payload;
    harmed[bit / 8] = static_cast<char>(harmed[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(CheckPayload(checked, harmed).code(), StatusCode::kMismatch) << bit;
    EXPECT_TRUE(CheckPayload(unchecked, harmed).ok());
  }
  EXPECT_FALSE(CheckPayload(unchecked, payload.substr(1)).ok());
}

TEST(FrameReader, CutsTheStreamTheSameHoweverItArrives) {
  FrameHeader heartbeat;
  heartbeat.kind = FrameKind::kHeartbeat;
  const std::string long_payload(1000, 'x');
  std::string stream = EncodeFrame(SampleHeader(), "the payload");
  stream += EncodeFrame(heartbeat, "");
  stream += EncodeFrame(SampleHeader(), long_payload);
  stream += EncodeFrame(heartbeat, "");
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameReader reader;
    Result<std::vector<Frame>> frames = ReadAll(reader, stream, piece);
    ASSERT_TRUE(frames.ok()) << frames.status();
    ASSERT_EQ(frames->size(), 4u);
    EXPECT_EQ((*frames)[0].header, SampleHeader());
    EXPECT_EQ((*frames)[0].payload, "the payload");
    EXPECT_EQ((*frames)[1].header.kind, FrameKind::kHeartbeat);
    EXPECT_EQ((*frames)[2].payload, long_payload);
    EXPECT_FALSE(reader.InFrame());
  }
}

TEST(FrameReader, EveryTruncationIsATornFrame) {
  const std::string whole = EncodeFrame(SampleHeader(), "the payload");
  for (size_t length = 1; length < whole.size(); ++length) {
    FrameReader reader;
    Result<std::vector<Frame>> frames = ReadAll(reader, whole.substr(0, length), 1);
    ASSERT_TRUE(frames.ok());
    EXPECT_TRUE(frames->empty());
    EXPECT_TRUE(reader.InFrame()) << length;
  }
}

TEST(FrameReader, AnErrorIsFinal) {
  std::string harmed = EncodeFrame(SampleHeader(), "the payload");
  harmed.back() = '?';
  FrameReader reader;
  EXPECT_EQ(ReadAll(reader, harmed, 7).status().code(), StatusCode::kMismatch);
  const std::string sound = EncodeFrame(SampleHeader(), "the payload");
  EXPECT_EQ(ReadAll(reader, sound, 7).status().code(), StatusCode::kMismatch);
}

TEST(FrameReader, ALimitBeforeTheHandshakeHolds) {
  FrameReader reader(/*max_payload=*/10);
  const std::string eleven = EncodeFrame(SampleHeader(), "the payload");
  EXPECT_EQ(ReadAll(reader, eleven, 100).status().message(),
            "frame header: a payload of 11 bytes, and at most 10 are accepted here");
}

}  // namespace
}  // namespace closeranks::net
