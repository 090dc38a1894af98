#include "elastic/checkpoint/manifest.h"

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

Manifest Example() {
  Manifest manifest;
  manifest.lineage = {3, 1, 20};
  manifest.step = 1234;
  manifest.epoch = 2;
  manifest.generation = 5;
  manifest.world = 2;
  manifest.written_at = 1700000000;
  manifest.run = "seed=1 batch=12";
  manifest.files = {"a.safetensors", "b.safetensors"};
  manifest.tensors = {{{"x", ElementType::kFloat32, {2, 3}, {}}, "a.safetensors", Checksum("x")},
                      {{"y", ElementType::kInt64, {}, {}}, "b.safetensors", Checksum("y")}};
  return manifest;
}

TEST(Manifest, WhatIsWrittenIsRead) {
  auto read = DecodeManifest(EncodeManifest(Example()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, Example());
  EXPECT_EQ(read->bytes(), 32u);
  const Lineage lineage = {3, 1, 20};
  EXPECT_EQ(*DecodeLineage(EncodeLineage(lineage)), lineage);
}

TEST(Manifest, EveryChangedOrMissingByteIsNoticed) {
  const std::string text = EncodeManifest(Example());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] ^= 1;
    auto read = DecodeManifest(changed);
    // What only looks different says the same.
    if (read.ok()) {
      EXPECT_EQ(*read, Example()) << i;
    }
    // The last byte ends the line.
    EXPECT_FALSE(i + 1 < text.size() && DecodeManifest(text.substr(0, i)).ok()) << i;
  }
}

TEST(Manifest, AnotherFormatIsRefusedByName) {
  std::string text = EncodeManifest(Example());
  text.replace(text.find("checkpoint 1"), 12, "checkpoint 2");
  EXPECT_NE(DecodeManifest(text).status().message().find("'closeranks checkpoint 1'"),
            std::string::npos);
}

TEST(Checksum, IsThatOfXxh3) { EXPECT_EQ(Checksum(""), "99aa06d3014798d86001c324468d497f"); }

}  // namespace
}  // namespace closeranks::elastic
