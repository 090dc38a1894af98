#include "net/preamble.h"

#include <string>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

Preamble Sample() {
  return {.role = ConnectionRole::kData,
          .job_hash = HashJobName("training/llm"),
          .destination = {.member = 3, .incarnation = {.high = 0x1122, .low = 0x3344}},
          .sender = 7};
}

TEST(Preamble, SurvivesEncodingAndParsing) {
  const std::string bytes = EncodePreamble(Sample());
  EXPECT_EQ(bytes.size(), kPreambleBytes);
  Result<Preamble> parsed = ParsePreamble(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, Sample());
}

TEST(Preamble, EveryOtherLengthIsRefused) {
  const std::string bytes = EncodePreamble(Sample()) + "x";
  for (size_t length = 0; length <= bytes.size(); ++length) {
    EXPECT_EQ(ParsePreamble(std::string_view(bytes).substr(0, length)).ok(),
              length == kPreambleBytes);
  }
}

TEST(Preamble, GarbageIsRefusedWithBothSidesNamed) {
  std::string stranger = "GET / HTTP/1.1\r\nHost: closeranks\r\n\r\n....";
  stranger.resize(kPreambleBytes);
  EXPECT_EQ(ParsePreamble(stranger).status().message(),
            "preamble: magic is 0x20544547, expected 0x524f4f44");
  for (const auto& [offset, value] :
       {std::pair{4, 2}, std::pair{5, 0}, std::pair{5, 3}, std::pair{6, 1}, std::pair{7, 1}}) {
    std::string bytes = EncodePreamble(Sample());
    bytes[offset] = static_cast<char>(value);
    EXPECT_EQ(ParsePreamble(bytes).status().code(), StatusCode::kMismatch) << offset;
  }
}

TEST(Preamble, JobHashIsTheSameInEveryBuild) {
  EXPECT_EQ(HashJobName("closeranks"), 14001081722363801547u);
  EXPECT_NE(HashJobName("training/a"), HashJobName("training/b"));
}

}  // namespace
}  // namespace closeranks::net
