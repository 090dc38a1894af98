#include "launcher/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/open_files.h"
#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

class ChildProcessTest : public testing::Test {
 protected:
  Result<std::unique_ptr<ChildProcess>> Start(std::vector<std::string> command) {
    ChildProcess::Options options;
    options.command = std::move(command);
    options.environment = {{"GREETING", "hello"}};
    return ChildProcess::Start(std::move(options), loop_, [this](std::string line, bool error) {
      (error ? errors_ : lines_).push_back(std::move(line));
    });
  }
  std::unique_ptr<ChildProcess> StartShell(const std::string& script) {
    auto child = Start({"sh", "-c", script});
    EXPECT_TRUE(child.ok()) << child.status();
    return *std::move(child);
  }
  int Reap(ChildProcess& child) {
    int status = 0;
    EXPECT_EQ(waitpid(child.pid(), &status, 0), child.pid());
    child.Reaped();
    return status;
  }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  std::vector<std::string> lines_;
  std::vector<std::string> errors_;
};

TEST_F(ChildProcessTest, EachLineOfItsOutputIsHandedOut) {
  auto child = StartShell("echo $GREETING; echo oops >&2; printf 'a\\n\\nlast'");
  int status = Reap(*child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(lines_, (std::vector<std::string>{"hello", "a", "", "last"}));
  EXPECT_EQ(errors_, (std::vector<std::string>{"oops"}));
}

TEST_F(ChildProcessTest, OutputComesWhileItRuns) {
  auto child = StartShell("echo ready; exec sleep 1000");
  while (lines_.empty()) loop_.PollOnce(Duration::max());
  EXPECT_EQ(lines_, (std::vector<std::string>{"ready"}));
  child->Signal(SIGTERM);
  int status = Reap(*child);
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  // Nobody is there any more.
  child->Signal(SIGTERM);
}

TEST_F(ChildProcessTest, AProgramThatCantBeRunIsNamed) {
  auto child = Start({"/nonexistent/program", "x"});
  ASSERT_TRUE(child.ok()) << "whoever starts it waits for the disk: " << child.status();
  Reap(**child);
  EXPECT_EQ((*child)->failure().code(), StatusCode::kInvalidArgument);
  EXPECT_NE((*child)->failure().message().find("/nonexistent/program"), std::string::npos);
  EXPECT_EQ(Start({}).status().code(), StatusCode::kInvalidArgument);
  // Nothing is left to reap.
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(ChildProcessTest, ItEndsWithItsOwner) {
  auto child = StartShell("exec sleep 1000");
  pid_t pid = child->pid();
  child.reset();
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(ChildProcessTest, WhoGoesOnWritingAfterItsEndKeepsNobody) {
  // The writer ends by SIGPIPE when nobody holds the other end any more.
  auto child = StartShell("(while :; do echo y; done) & exit 3");
  while (lines_.empty()) loop_.PollOnce(Duration::max());
  EXPECT_EQ(WEXITSTATUS(Reap(*child)), 3);
}

TEST_F(ChildProcessTest, ItEndsByABrokenPipeThoughWeDont) {
  auto before = signal(SIGPIPE, SIG_IGN);
  auto child = StartShell("kill -PIPE $$; echo still here");
  signal(SIGPIPE, before);
  EXPECT_EQ(WTERMSIG(Reap(*child)), SIGPIPE);
  EXPECT_TRUE(lines_.empty());
}

TEST_F(ChildProcessTest, ItHearsOfItsOwnChildrensEndThoughWeDont) {
  auto before = signal(SIGCHLD, SIG_IGN);
  auto child = Start({"grep", "SigIgn", "/proc/self/status"});
  signal(SIGCHLD, before);
  ASSERT_TRUE(child.ok()) << child.status();
  Reap(**child);
  ASSERT_EQ(lines_.size(), 1u);
  const uint64_t ignored = std::stoull(lines_[0].substr(lines_[0].find('\t')), nullptr, 16);
  EXPECT_EQ(ignored >> (SIGCHLD - 1) & 1, 0u);
}

TEST_F(ChildProcessTest, ItIsReadyForTheSignalsThatDontEndIt) {
  auto child = StartShell("trap : USR1; trap '' USR2; echo ready; kill -STOP $$");
  while (lines_.empty()) loop_.PollOnce(Duration::max());
  EXPECT_TRUE(child->IsReadyFor(SIGUSR1));
  EXPECT_TRUE(child->IsReadyFor(SIGUSR2));
  EXPECT_FALSE(child->IsReadyFor(SIGPROF));
  child->Signal(SIGKILL);
  Reap(*child);
  EXPECT_FALSE(child->IsReadyFor(SIGUSR1));
}

TEST_F(ChildProcessTest, WhetherItIsStoppedIsKnownAsOftenAsItIsAsked) {
  auto child = StartShell("echo ready; exec sleep 1000");
  while (lines_.empty()) loop_.PollOnce(Duration::max());
  EXPECT_FALSE(child->IsStopped());
  child->Signal(SIGSTOP);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, child->pid(), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_TRUE(child->IsStopped());
  EXPECT_TRUE(child->IsStopped());
  child->Signal(SIGCONT);
  EXPECT_FALSE(child->IsStopped());
  child->Signal(SIGKILL);
  Reap(*child);
  EXPECT_FALSE(child->IsStopped());
}

TEST_F(ChildProcessTest, ALineWithoutEndComesInPieces) {
  auto child = StartShell("head -c 1000000 /dev/zero | tr '\\0' x; echo");
  size_t bytes = 0;
  while (bytes < 1000000) {
    loop_.PollOnce(Duration::max());
    for (const std::string& line : lines_) {
      EXPECT_LE(line.size(), 100'000u);
      bytes += line.size();
    }
    lines_.clear();
  }
  Reap(*child);
}

TEST_F(ChildProcessTest, ADescriptorIsPassedOnUnderItsNumber) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd read_end(ends[0]);
  ChildProcess::Options options;
  options.command = {"sh", "-c", "eval \"echo passed >&$PASSED\""};
  options.passed_fd = UniqueFd(ends[1]);
  options.passed_fd_variable = "PASSED";
  auto child = ChildProcess::Start(std::move(options), loop_, [](std::string, bool) {});
  ASSERT_TRUE(child.ok());
  Reap(**child);
  char text[16];
  EXPECT_EQ(read(read_end.get(), text, sizeof(text)), 7);
}

TEST_F(ChildProcessTest, ItsLimitOfOpenFilesIsTheOneItIsGiven) {
  ChildProcess::Options options;
  options.command = {"sh", "-c", "ulimit -n"};
  options.open_files = rlimit{50, 60};
  auto child = ChildProcess::Start(std::move(options), loop_, [this](std::string line, bool) {
    lines_.push_back(std::move(line));
  });
  ASSERT_TRUE(child.ok());
  Reap(**child);
  EXPECT_EQ(lines_, (std::vector<std::string>{"50"}));
}

TEST_F(ChildProcessTest, AShortageOfDescriptorsIsNoFaultOfTheProgram) {
  rlimit before = RaiseOpenFilesLimit();
  // One pipe fits, and no second one.
  SetOpenFilesLimit({CountOpenFiles() + 3, before.rlim_max});
  auto child = Start({"true"});
  SetOpenFilesLimit(before);
  EXPECT_EQ(child.status().code(), StatusCode::kResourceExhausted) << child.status();
}

TEST(ExitResult, SaysHowItEnded) {
  EXPECT_EQ((ExitResult{3, 0}.ToString()), "exited with code 3");
  EXPECT_EQ((ExitResult{0, SIGKILL}.ToString()), "was killed by signal 9 (Killed)");
  EXPECT_EQ((ExitResult{0, SIGKILL, true}.ToString()),
            "was killed by signal 9 (Killed) as memory ran out");
}

}  // namespace
}  // namespace closeranks::launcher
