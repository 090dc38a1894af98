#include "launcher/live_line.h"

#include <cstdio>
#include <limits>

#include "gtest/gtest.h"
#include "net/event_loop.h"

namespace closeranks::launcher {
namespace {

using std::chrono::seconds;

rendezvous::Progress Commit(StepNumber step, double loss = 0.5) {
  return {step, 100, 2, true, loss, 12, 3, 0};
}

class LiveLineTest : public testing::Test {
 protected:
  // A stream that goes to a file.
  class Stream {
   public:
    explicit Stream(net::Loop& loop) : file_(std::tmpfile()), output_(fileno(file_), loop) {}
    ~Stream() { std::fclose(file_); }
    Output& output() { return output_; }
    std::string Written() {
      std::rewind(file_);
      std::string text(4096, '\0');
      text.resize(std::fread(text.data(), 1, text.size(), file_));
      return text;
    }

   private:
    std::FILE* file_;
    Output output_;
  };
  std::string Written() { return stream_.Written(); }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  Stream stream_{loop_};
  Output& out_ = stream_.output();
  TimePoint start_{seconds(1000)};
};

TEST_F(LiveLineTest, BeforeTheFirstCommitThereIsNothingToSay) {
  LiveLine line(out_, false, 4);
  rendezvous::Progress begun = Commit(1);
  begun.committed = false;
  line.OnProgress(start_, begun);
  EXPECT_EQ(line.Text(), "");
  line.End();
  EXPECT_EQ(Written(), "");
}

TEST_F(LiveLineTest, StepLossSpeedRanksAndTheTimeThatIsLeftAreShown) {
  LiveLine line(out_, false, 4);
  line.OnProgress(start_, Commit(10));
  line.OnProgress(start_ + seconds(1), Commit(12));
  EXPECT_EQ(line.Text(), "epoch 2  step 12/100  loss 0.5000  12 samples/s  ranks 3/4  0:44 left");
}

TEST_F(LiveLineTest, WhatSeveralWorkersReportCountsOnce) {
  LiveLine line(out_, false, 4);
  for (int worker = 0; worker < 3; ++worker) line.OnProgress(start_, Commit(10));
  for (int worker = 0; worker < 3; ++worker) line.OnProgress(start_ + seconds(1), Commit(11));
  EXPECT_EQ(line.Text(), "epoch 2  step 11/100  loss 0.5000  12 samples/s  ranks 3/4  1:29 left");
}

TEST_F(LiveLineTest, ALossBeyondAllMeasureFits) {
  for (double loss : {1e300, -1e300, std::numeric_limits<double>::infinity(),
                      std::numeric_limits<double>::quiet_NaN()}) {
    LiveLine line(out_, false, 4);
    line.OnProgress(start_, Commit(10, loss));
    line.OnProgress(start_ + std::chrono::hours(1), Commit(11, loss));
    EXPECT_LT(line.Text().size(), 120u) << line.Text();
  }
}

TEST_F(LiveLineTest, OnATerminalOutputGoesThroughAboveTheLine) {
  LiveLine line(out_, true, 4);
  line.OnProgress(start_, Commit(10));
  line.WriteThrough(out_, "[0] hello");
  const std::string text = "epoch 2  step 10/100  loss 0.5000  0 samples/s  ranks 3/4";
  EXPECT_EQ(Written(), "\r\033[K" + text + "\r\033[K[0] hello\n" + text);
}

TEST_F(LiveLineTest, WhatGoesToAnotherStreamDoesntMeetTheLineOnTheTerminal) {
  LiveLine line(out_, true, 4);
  line.OnProgress(start_, Commit(10));
  Stream error(loop_);
  line.WriteThrough(error.output(), "[0] oops");
  EXPECT_EQ(error.Written(), "[0] oops\n");
  EXPECT_EQ(Written(), "\r\033[K" + line.Text() + "\r\033[K" + line.Text());
}

}  // namespace
}  // namespace closeranks::launcher
