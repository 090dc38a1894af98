#include "elastic/checkpoint/safetensors.h"

#include <vector>

#include "base/bytes.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

std::string File(const std::string& header, const std::string& data) {
  ByteWriter writer;
  writer.Put(static_cast<uint64_t>(header.size()));
  return writer.bytes() + header + data;
}

std::string Refusal(const std::string& file) {
  auto decoded = DecodeSafetensors(file);
  EXPECT_FALSE(decoded.ok());
  return decoded.ok() ? "" : decoded.status().message();
}

TEST(Safetensors, WhatIsWrittenIsRead) {
  const std::string numbers(24, 'x'), scalar(8, 'y');
  const std::vector<Piece> pieces = {
      {"a \"quoted\" nam\xC3\xA9", ElementType::kFloat32, {2, 3}, numbers},
      {"step", ElementType::kInt64, {}, scalar},
      {"empty", ElementType::kBFloat16, {4, 0}, ""},
      OpaquePiece("opaque", "12345")};
  const std::string file = EncodeSafetensors(pieces, {{"step", "7"}});
  EXPECT_EQ(*SafetensorsHeadBytes(file) % 8, 0u);
  auto decoded = DecodeSafetensors(file);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->metadata, (Metadata{{"step", "7"}}));
  ASSERT_EQ(decoded->pieces.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(decoded->pieces[i].name, pieces[i].name);
    EXPECT_EQ(decoded->pieces[i].Kind(), pieces[i].Kind());
    EXPECT_EQ(decoded->pieces[i].bytes, pieces[i].bytes);
  }
  EXPECT_TRUE(DecodeSafetensors(EncodeSafetensors({}, {})).ok());
}

TEST(Safetensors, OrderAndSpacesAreTheWritersOwn) {
  EXPECT_NE(Refusal(File(R"( {)", "")), "");
  const std::string file = File(R"({"b":{"shape":[2],"data_offsets":[1,3],"dtype":"U8"},
               "a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}  )",
                                "abc");
  auto decoded = DecodeSafetensors(file);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->pieces[0].name, "a");
  EXPECT_EQ(decoded->pieces[1].bytes, "bc");
}

TEST(Safetensors, WhatIsBadIsRefusedAndSaidWhy) {
  const std::string a = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const struct {
    std::string file, why;
  } bad[] = {
      {"", "0 bytes"},
      {"1234567", "7 bytes"},
      {std::string(8, '\xff'), "its header would have"},
      {File("{" + a + "}", "1234").substr(0, 30), "cut off"},
      {File("{" + a + "}", "123"), "its data has 3 bytes, its tensors 4"},
      {File("{" + a + "}", "12345"), "its data has 5 bytes, its tensors 4"},
      {File("[1]", ""), "doesn't begin with {"},
      {File("{" + a, "1234"), "isn't a JSON object"},
      {File("{" + a + "," + a + "}", "1234"), "'a' comes twice"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", "123456"),
       "'b' begins at 2, where the data before it ends at 4"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", "123456789012"),
       "'b' begins at 8"},
      {File(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", "1234"), "unknown dtype"},
      {File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"),
       "'a' is F32 [2] in 4 bytes"},
      {File(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234"), "shape"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234"), "no place"},
      {File(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", ""),
       "in 0 bytes"},
      {File(R"({"a":{"dtype":"F32","shape":[1]}})", "1234"), "lacks"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", "1234"),
       "unknown field"},
      {File(R"({"__metadata__":{"x":1}})", ""), "isn't a text"},
  };
  for (const auto& [file, why] : bad) {
    const std::string refusal = Refusal(file);
    EXPECT_NE(refusal.find(why), std::string::npos) << refusal << " instead of " << why;
  }
  EXPECT_NE(
      Refusal(File("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", "")), "");
}

TEST(Safetensors, TheHeadAloneTellsWhatIsInTheFile) {
  const std::string file = EncodeSafetensors({{OpaquePiece("a", "12345")}}, {});
  auto head = DecodeSafetensorsHead(file.substr(0, *SafetensorsHeadBytes(file)));
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->pieces.at(0).Kind(), "U8 [5]");
  EXPECT_TRUE(head->pieces.at(0).bytes.empty());
}

}  // namespace
}  // namespace closeranks::elastic
