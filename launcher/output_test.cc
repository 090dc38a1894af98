#include "launcher/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "net/event_loop.h"

namespace closeranks::launcher {
namespace {

class OutputTest : public testing::Test {
 protected:
  OutputTest() {
    std::array<int, 2> ends;
    PCHECK(pipe2(ends.data(), O_CLOEXEC) == 0);
    read_end_ = UniqueFd(ends[0]);
    write_end_ = UniqueFd(ends[1]);
    fcntl(read_end_.get(), F_SETFL, O_NONBLOCK);
  }

  std::string ReadAll(Output& output) {
    std::string text;
    std::array<char, 8192> chunk;
    while (true) {
      const ssize_t got = read(read_end_.get(), chunk.data(), chunk.size());
      if (got > 0) {
        text.append(chunk.data(), static_cast<size_t>(got));
      } else if (output.is_behind()) {
        loop_.PollOnce(Duration::max());
      } else {
        return text;
      }
    }
  }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  UniqueFd read_end_;
  UniqueFd write_end_;
};

TEST_F(OutputTest, WhoReadsLateGetsEverythingInOrder) {
  Output output(write_end_.get(), loop_);
  std::string all;
  for (int i = 0; i < 100'000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    output.Write(line);
    all += line;
  }
  EXPECT_TRUE(output.is_behind());
  EXPECT_EQ(ReadAll(output), all);
}

TEST_F(OutputTest, BeyondTheBacklogItIsSaidWhatIsMissing) {
  Output output(write_end_.get(), loop_, 100'000);
  const std::string line(999, 'x');
  constexpr int kLines = 1000;
  for (int i = 0; i < kLines; ++i) output.Write(line + "\n");
  const std::string text = ReadAll(output);
  const size_t said = text.find("closeranks: ");
  ASSERT_NE(said, std::string::npos);
  const size_t missing = std::stoul(text.substr(said + 12));
  EXPECT_GT(missing, 0u);
  EXPECT_EQ(said + missing, (line.size() + 1) * kLines);
  output.Write("heard again\n");
  EXPECT_EQ(ReadAll(output), "heard again\n");
}

TEST_F(OutputTest, AReaderThatIsGoneIsNoError) {
  std::signal(SIGPIPE, SIG_IGN);
  Output output(write_end_.get(), loop_);
  read_end_.Reset();
  output.Write("to nobody\n");
  EXPECT_FALSE(output.is_behind());
}

TEST_F(OutputTest, LeavesThePipeAsItWasForOthers) {
  Output output(write_end_.get(), loop_);
  EXPECT_EQ(fcntl(write_end_.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(OutputTest, WritesToAFileBehindWhatIsThere) {
  std::FILE* file = std::tmpfile();
  ASSERT_EQ(write(fileno(file), "first ", 6), 6);
  Output output(fileno(file), loop_);
  output.Write("second");
  std::array<char, 16> text{};
  EXPECT_EQ(pread(fileno(file), text.data(), text.size(), 0), 12);
  EXPECT_STREQ(text.data(), "first second");
  std::fclose(file);
}

}  // namespace
}  // namespace closeranks::launcher
