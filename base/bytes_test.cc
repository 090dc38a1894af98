#include "base/bytes.h"

#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(Bytes, WhatWasWrittenIsRead) {
  SeededRandom random(1);
  MemberProcess process{7, Incarnation::Draw(random)};
  ByteWriter writer;
  writer.Put<uint8_t>(3);
  writer.Put(int64_t{-5});
  writer.Put(process);
  writer.PutString("text");
  ByteReader reader(writer.bytes());
  EXPECT_EQ(reader.Get<uint8_t>(), 3);
  EXPECT_EQ(reader.Get<int64_t>(), -5);
  EXPECT_EQ(reader.GetMemberProcess(), process);
  EXPECT_EQ(reader.GetString(), "text");
  EXPECT_TRUE(reader.AtEnd());
}

TEST(Bytes, ATruncatedMessageFailsAtEveryLength) {
  ByteWriter writer;
  writer.Put<uint32_t>(1);
  writer.PutString("abcdef");
  for (size_t length = 0; length < writer.bytes().size(); ++length) {
    ByteReader reader(std::string_view(writer.bytes()).substr(0, length));
    reader.Get<uint32_t>();
    reader.GetString();
    EXPECT_TRUE(reader.failed()) << length;
    EXPECT_FALSE(reader.AtEnd());
  }
}

TEST(Bytes, AHostileCountIsRefused) {
  ByteWriter writer;
  writer.Put<uint32_t>(0xffffffff);
  writer.Put<uint64_t>(0);
  ByteReader reader(writer.bytes());
  EXPECT_EQ(reader.GetCount(8), 0u);
  EXPECT_TRUE(reader.failed());
}

}  // namespace
}  // namespace closeranks
