#include "base/files.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

// Runs `run` in a process whose own number is 1, as in a container, and ends the calling one.
[[noreturn]] void RunAsProcess1(const std::function<void()>& run) {
  if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) _exit(1);
  const pid_t child = fork();
  if (child == 0) {
    run();
    _exit(getpid() == 1 ? 0 : 1);
  }
  int status = 0;
  _exit(child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 1);
}

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

// Whatever their processes' numbers are: those of a shared folder's hosts may be the same.
TEST_F(FilesTest, OfManyThatCreateAtOnceExactlyOneSucceedsAndTheOthersAreToldSo) {
  constexpr int kProcesses = 8, kPaths = 50;
  using Codes = std::array<std::array<StatusCode, kPaths>, kProcesses>;
  void* memory =
      mmap(nullptr, sizeof(Codes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Codes& codes = *static_cast<Codes*>(memory);
  std::array<int, 2> gate;
  ASSERT_EQ(pipe(gate.data()), 0);
  std::vector<pid_t> processes;
  for (int process = 0; process < kProcesses; ++process) {
    processes.push_back(fork());
    ASSERT_GE(processes.back(), 0);
    if (processes.back() != 0) continue;
    close(gate[1]);
    RunAsProcess1([&, process] {
      char byte;
      (void)!read(gate[0], &byte, 1);  // until nobody holds the other end
      for (int path = 0; path < kPaths; ++path) {
        codes[process][path] =
            files_.CreateExclusively(folder_ + "/" + std::to_string(path), std::to_string(process))
                .code();
      }
    });
  }
  close(gate[0]);
  close(gate[1]);
  bool have_run = true;
  for (const pid_t process : processes) {
    int status = 0;
    ASSERT_EQ(waitpid(process, &status, 0), process);
    have_run = have_run && status == 0;
  }
  if (!have_run) GTEST_SKIP() << "no process may have a number of its own choice here";
  for (int path = 0; path < kPaths; ++path) {
    int winner = -1;
    for (int process = 0; process < kProcesses; ++process) {
      const StatusCode code = codes[process][path];
      EXPECT_TRUE(code == StatusCode::kOk || code == StatusCode::kAborted) << StatusCodeName(code);
      if (code != StatusCode::kOk) continue;
      EXPECT_EQ(winner, -1) << "two have created it";
      winner = process;
    }
    EXPECT_EQ(files_.Read(folder_ + "/" + std::to_string(path)).value(), std::to_string(winner));
  }
  EXPECT_EQ(files_.List(folder_)->size(), size_t{kPaths}) << "something is left";
  munmap(memory, sizeof(Codes));
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
