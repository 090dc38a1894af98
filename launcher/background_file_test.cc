#include "launcher/background_file.h"

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "base/simulated_files.h"
#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

// A disk that does nothing until it is told.
class SlowDisk final : public net::Background {
 public:
  void Start(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  bool AwaitIdle() override {
    for (; !tasks_.empty(); tasks_.pop_front()) tasks_.front()();
    return true;
  }

 private:
  std::deque<std::function<void()>> tasks_;
};

class BackgroundFileTest : public testing::Test {
 protected:
  SlowDisk disk_;
  SimulatedFiles files_;
  std::unique_ptr<BackgroundFile> file_ =
      std::make_unique<BackgroundFile>(files_.OpenForAppend("events").value(), disk_);
};

TEST_F(BackgroundFileTest, WhatIsAppendedComesInOrderThoughTheFileIsGoneAndNobodyWaited) {
  EXPECT_TRUE(file_->Append("one\n").ok());
  EXPECT_TRUE(file_->Append("two\n").ok());
  EXPECT_EQ(files_.Read("events").value(), "");
  file_.reset();
  EXPECT_TRUE(disk_.AwaitIdle());
  EXPECT_EQ(files_.Read("events").value(), "one\ntwo\n");
}

TEST_F(BackgroundFileTest, AfterAnErrorWhichIsToldByTheNextNothingIsAppended) {
  files_.SetRoom(2);
  EXPECT_TRUE(file_->Append("one\n").ok());
  EXPECT_TRUE(file_->Append("two\n").ok());
  EXPECT_TRUE(disk_.AwaitIdle());
  files_.SetRoom(1000);
  EXPECT_EQ(file_->Append("three\n").code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(disk_.AwaitIdle());
  EXPECT_EQ(files_.Read("events").value(), "on");
}

}  // namespace
}  // namespace closeranks::launcher
