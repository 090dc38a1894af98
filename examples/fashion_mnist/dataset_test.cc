#include "examples/fashion_mnist/dataset.h"

#include <zlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::examples {
namespace {

// Three pictures: all black, all white, all of value 100; with the labels 7, 0 and 9.
class DatasetTest : public testing::Test {
 protected:
  DatasetTest() : folder_(testing::TempDir() + "/data") {
    std::filesystem::create_directory(folder_);
    WriteImages(28);
    WriteLabels({7, 0, 9});
  }

  void WriteImages(char side) {
    std::string bytes = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, side, 0, 0, 0, side};
    for (char value : {'\0', '\xff', '\x64'}) bytes.append(side * side, value);
    Write(images_, bytes);
  }
  void WriteLabels(std::vector<char> labels) {
    std::string bytes = {0, 0, 8, 1, 0, 0, 0, static_cast<char>(labels.size())};
    bytes.append(labels.begin(), labels.end());
    Write(labels_, bytes);
  }
  void Write(const std::string& name, const std::string& bytes) {
    gzFile file = gzopen((folder_ + name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
  }
  void ExpectRefused(const std::string& file, const std::string& why) {
    const auto data = Dataset::Load(folder_, Dataset::Split::kTrain);
    ASSERT_FALSE(data.ok());
    for (const std::string& part : {folder_ + file, why, std::string("remedy: apt-get install")}) {
      EXPECT_NE(data.status().message().find(part), std::string::npos) << data.status();
    }
  }

  const std::string folder_;
  const std::string images_ = "/train-images-idx3-ubyte.gz";
  const std::string labels_ = "/train-labels-idx1-ubyte.gz";
};

TEST_F(DatasetTest, GivesTheSamplesThatAreAskedForInTheirOrder) {
  const auto data = Dataset::Load(folder_, Dataset::Split::kTrain);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->size(), 3);
  const std::vector<int64_t> ids = {2, 0, 2};
  const Batch batch = data->Get(ids);
  EXPECT_EQ(batch.images.sizes(), (std::vector<int64_t>{3, 1, 28, 28}));
  EXPECT_NEAR(batch.images[0][0][27][27].item<float>(), (100 / 255.0 - 0.286) / 0.353, 1e-4);
  EXPECT_NEAR(batch.images[1][0][0][0].item<float>(), -0.286 / 0.353, 1e-4);
  EXPECT_TRUE(batch.images[2].equal(batch.images[0]));
  EXPECT_EQ(batch.labels[0].item<int64_t>(), 9);
  EXPECT_EQ(batch.labels[1].item<int64_t>(), 7);
  EXPECT_EQ(data->Get({}).labels.numel(), 0);
}

TEST_F(DatasetTest, AMissingFileIsNamedWithTheRemedy) {
  std::filesystem::remove(folder_ + labels_);
  ExpectRefused(labels_, "No such file");
}

TEST_F(DatasetTest, ACutFileIsNamedWithTheRemedy) {
  std::filesystem::resize_file(folder_ + images_, 40);
  ExpectRefused(images_, "cut off");
}

TEST_F(DatasetTest, OtherPicturesAreRefused) {
  WriteImages(27);
  ExpectRefused(images_, "28 x 28");
}

TEST_F(DatasetTest, LabelsThatDontFitAreRefused) {
  WriteLabels({1, 2});
  ExpectRefused(labels_, "one label for each");
  WriteLabels({1, 2, 10});
  ExpectRefused(labels_, "not 0 to 9");
}

}  // namespace
}  // namespace closeranks::examples
