#include "base/files.h"

#include <filesystem>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

class FilesTest : public testing::Test {
 protected:
  FilesTest() : folder_(testing::TempDir() + "/files_test." + std::to_string(getpid())) {
    EXPECT_TRUE(files_.MakeFolder(folder_).ok());
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }

  SystemFiles files_;
  std::string folder_;
};

TEST_F(FilesTest, ReplaceLeavesTheNewBytesAndNothingElse) {
  std::string path = folder_ + "/a";
  EXPECT_TRUE(files_.Replace(path, "old").ok());
  EXPECT_TRUE(files_.Replace(path, "new").ok());
  EXPECT_EQ(*files_.Read(path), "new");
  EXPECT_EQ(files_.List(folder_)->size(), 1u);
}

TEST_F(FilesTest, ExclusiveCreationSucceedsOnce) {
  std::string path = folder_ + "/b";
  EXPECT_TRUE(files_.CreateExclusively(path, "first").ok());
  EXPECT_EQ(files_.CreateExclusively(path, "second").code(), StatusCode::kAborted);
  EXPECT_EQ(*files_.Read(path), "first");
  EXPECT_EQ(files_.List(folder_)->size(), 1u);
}

TEST_F(FilesTest, ALockIsHeldOnceAndUntilItsDescriptorCloses) {
  std::string path = folder_ + "/lock";
  auto first = files_.Lock(path);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(files_.Lock(path).status().code(), StatusCode::kAborted);
  first->Reset();
  EXPECT_TRUE(files_.Lock(path).ok());
  EXPECT_EQ(files_.Lock(folder_ + "/nowhere/lock").status().code(), StatusCode::kUnavailable);
}

TEST_F(FilesTest, AppendGoesToTheEnd) {
  std::string path = folder_ + "/c";
  {
    auto file = files_.OpenForAppend(path);
    ASSERT_TRUE(file.ok());
    EXPECT_TRUE((*file)->Append("one ").ok());
  }
  auto file = files_.OpenForAppend(path);
  EXPECT_TRUE((*file)->Append("two").ok());
  EXPECT_EQ(*files_.Read(path), "one two");
}

TEST_F(FilesTest, WhatIsThereIsntCreated) {
  std::string path = folder_ + "/f";
  EXPECT_TRUE(files_.Create(path).value()->Append("first").ok());
  EXPECT_EQ(files_.Create(path).status().code(), StatusCode::kAborted);
  EXPECT_EQ(*files_.Read(path), "first");
}

TEST_F(FilesTest, APartIsReadWithoutTheRest) {
  std::string path = folder_ + "/d";
  EXPECT_TRUE(files_.Replace(path, "0123456789").ok());
  EXPECT_EQ(*files_.ReadPart(path, 2, 3), "234");
  EXPECT_EQ(*files_.ReadPart(path, 8, 100), "89") << "it ends there";
  EXPECT_EQ(*files_.ReadPart(path, 50, 1), "");
}

TEST_F(FilesTest, AFolderIsRemovedOnlyOnceItIsEmpty) {
  std::string path = folder_ + "/e";
  EXPECT_TRUE(files_.MakeFolder(path).ok());
  EXPECT_TRUE(files_.Replace(path + "/x", "").ok());
  EXPECT_FALSE(files_.RemoveFolder(path).ok());
  EXPECT_TRUE(files_.Remove(path + "/x").ok());
  EXPECT_TRUE(files_.RemoveFolder(path).ok());
  EXPECT_TRUE(files_.RemoveFolder(path).ok()) << "there is none any more";
  EXPECT_FALSE(files_.SyncFolder(path).ok());
}

TEST_F(FilesTest, AMissingFileIsNamed) {
  auto content = files_.Read(folder_ + "/none");
  EXPECT_EQ(content.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(content.status().message().find("/none"), std::string::npos);
  EXPECT_TRUE(files_.Remove(folder_ + "/none").ok());
}

TEST_F(FilesTest, WhatCantBeLookedForIsntMissing) {
  EXPECT_FALSE(*files_.Exists(folder_ + "/none"));
  EXPECT_FALSE(*files_.Exists(folder_ + "/none/none"));
  EXPECT_TRUE(*files_.Exists(folder_));
  EXPECT_TRUE(files_.Replace(folder_ + "/file", "").ok());
  EXPECT_TRUE(*files_.Exists(folder_ + "/file"));
  EXPECT_FALSE(files_.Exists(folder_ + "/file/below").ok());
}

TEST_F(FilesTest, AFullDiskIsSaidSo) {
  EXPECT_EQ(files_.OpenForAppend("/dev/full").value()->Append("x").code(),
            StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace closeranks
