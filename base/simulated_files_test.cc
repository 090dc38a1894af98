#include "base/simulated_files.h"

#include "gtest/gtest.h"

namespace closeranks {
namespace {

void Append(SimulatedFiles& files, const std::string& path, std::string_view bytes, bool sync) {
  auto file = files.OpenForAppend(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->Append(bytes).ok());
  if (sync) {
    EXPECT_TRUE((*file)->Sync().ok());
  }
}

TEST(SimulatedFiles, WhatIsSyncedWithItsNameSurvives) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedFiles files;
    SeededRandom random(seed);
    ASSERT_TRUE(files.MakeFolder("/a/b").ok());
    Append(files, "/a/b/x", "synced", true);
    for (const char* folder : {"", "/a", "/a/b"}) ASSERT_TRUE(files.SyncFolder(folder).ok());
    ASSERT_TRUE(files.Replace("/a/b/y", "new").ok());
    files.Restart(random);
    EXPECT_EQ(*files.Read("/a/b/x"), "synced");
    EXPECT_EQ(*files.Read("/a/b/y"), "new");
  }
}

TEST(SimulatedFiles, WhatIsntSyncedMayBeLostInEveryWay) {
  bool whole = false, torn = false, zeros = false, gone = false;
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    SimulatedFiles files;
    SeededRandom random(seed);
    ASSERT_TRUE(files.MakeFolder("/a").ok());
    ASSERT_TRUE(files.SyncFolder("").ok());
    Append(files, "/a/x", "123456", false);
    files.Restart(random);
    auto read = files.Read("/a/x");
    gone |= !read.ok();
    if (!read.ok()) continue;
    whole |= *read == "123456";
    torn |= *read == "123";
    zeros |= *read == std::string("12\0\0", 4);
  }
  EXPECT_TRUE(whole && torn && zeros && gone) << whole << torn << zeros << gone;
}

TEST(SimulatedFiles, AReplacementIsOldOrNewWhereverTheMachineGoesDown) {
  for (int64_t at = 1; at <= 5; ++at) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      SimulatedFiles files;
      SeededRandom random(seed);
      ASSERT_TRUE(files.MakeFolder("/a").ok());
      ASSERT_TRUE(files.SyncFolder("").ok());
      ASSERT_TRUE(files.Replace("/a/x", "old").ok());
      const int64_t before = files.operations();
      files.GoDownAt(before + at);
      EXPECT_FALSE(files.Replace("/a/x", "new").ok());
      EXPECT_EQ(files.operations(), before + at);
      EXPECT_FALSE(files.Read("/a/x").ok()) << "it is down";
      files.Restart(random);
      const std::string found = *files.Read("/a/x");
      EXPECT_TRUE(found == "old" || (found == "new" && at == 5)) << at << " " << found;
    }
  }
}

TEST(SimulatedFiles, FailsAsToldAndFillsUp) {
  SimulatedFiles files;
  ASSERT_TRUE(files.MakeFolder("/a").ok());
  files.FailAt(files.operations() + 2, ResourceExhausted("no"));
  EXPECT_EQ(files.Replace("/a/x", "1").code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(files.List("/a")->empty());
  EXPECT_TRUE(files.Replace("/a/x", "1").ok());
  EXPECT_EQ(files.CreateExclusively("/a/x", "2").code(), StatusCode::kAborted);
  files.SetRoom(3);
  EXPECT_EQ(files.OpenForAppend("/a/y").value()->Append("123").code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(*files.Read("/a/y"), "12");
  EXPECT_EQ(files.Create("/a/y").status().code(), StatusCode::kAborted);
  EXPECT_TRUE(files.Create("/a/z").ok());
}

TEST(SimulatedFiles, ReadingFailsAsTold) {
  SimulatedFiles files;
  ASSERT_TRUE(files.MakeFolder("/a").ok());
  ASSERT_TRUE(files.Replace("/a/x", "1").ok());
  files.OnRead(
      [](const std::string& path) { return path == "/a/x" ? Unavailable("not now") : OkStatus(); });
  EXPECT_FALSE(files.Read("/a/x").ok());
  EXPECT_FALSE(files.Exists("/a/x").ok());
  EXPECT_EQ(files.List("/a")->size(), 1u);
  files.OnRead(nullptr);
  EXPECT_TRUE(*files.Exists("/a/x"));
  EXPECT_FALSE(*files.Exists("/a/y"));
}

}  // namespace
}  // namespace closeranks
