#include "examples/fashion_mnist/idx_file.h"

#include <zlib.h>

#include <fstream>
#include <numeric>
#include <string>

#include "gtest/gtest.h"

namespace closeranks::examples {
namespace {

// A 2 x 3 x 4 idx file with the values 0 to 23.
std::string SmallIdx() {
  std::string bytes = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4};
  for (char i = 0; i < 24; ++i) bytes.push_back(i);
  return bytes;
}

std::string Gzip(const std::string& bytes) {
  const std::string path = testing::TempDir() + "/packed.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Result<IdxFile> Read(const std::string& file_bytes) {
  const std::string path = testing::TempDir() + "/sample.gz";
  std::ofstream(path, std::ios::binary) << file_bytes;
  return ReadIdxFile(path);
}

void ExpectRefused(const std::string& file_bytes, const std::string& why) {
  const Result<IdxFile> idx = Read(file_bytes);
  ASSERT_FALSE(idx.ok());
  EXPECT_EQ(idx.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(idx.status().message().find("sample.gz"), std::string::npos) << idx.status();
  EXPECT_NE(idx.status().message().find(why), std::string::npos) << idx.status();
}

TEST(IdxFile, ReadsGzippedAndPlainFiles) {
  for (const std::string& file_bytes : {Gzip(SmallIdx()), SmallIdx()}) {
    const Result<IdxFile> idx = Read(file_bytes);
    ASSERT_TRUE(idx.ok()) << idx.status();
    EXPECT_EQ(idx->dimensions, (std::vector<int64_t>{2, 3, 4}));
    std::vector<uint8_t> values(24);
    std::iota(values.begin(), values.end(), uint8_t{0});
    EXPECT_EQ(idx->values, values);
  }
}

TEST(IdxFile, NoFileIsUnavailableAndNamed) {
  const Result<IdxFile> idx = ReadIdxFile("/nowhere/at-all.gz");
  EXPECT_EQ(idx.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(idx.status().message().find("/nowhere/at-all.gz"), std::string::npos);
}

TEST(IdxFile, EveryCutIsNoticed) {
  const std::string packed = Gzip(SmallIdx());
  for (size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(Read(packed.substr(0, size)).ok()) << size << " of " << packed.size();
  }
  const std::string plain = SmallIdx();
  for (size_t size = 0; size < plain.size(); ++size) {
    ExpectRefused(plain.substr(0, size), "cut off");
  }
}

TEST(IdxFile, DamageIsNoticedByTheChecksum) {
  std::string packed = Gzip(SmallIdx());
  packed[packed.size() - 6] ^= 1;  // in the CRC
  ExpectRefused(packed, "damaged");
}

TEST(IdxFile, WhatIsNoIdxFileIsRefused) {
  ExpectRefused("<html>not found</html>", "not an idx file");
  ExpectRefused(SmallIdx() + "x", "longer");
  // 2^32 - 1 squared would overflow a careless product.
  ExpectRefused(std::string("\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", 12), "dimensions");
}

}  // namespace
}  // namespace closeranks::examples
