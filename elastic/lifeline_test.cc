#include "elastic/lifeline.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

bool IsHungUp(int fd, int timeout_ms) {
  pollfd poll_fd{fd, POLLIN, 0};
  return poll(&poll_fd, 1, timeout_ms) == 1 && (poll_fd.revents & POLLHUP) != 0;
}

TEST(Lifeline, IsSilentWhileTheProcessLivesAndEndsWithIt) {
  auto lifeline = Lifeline::Make();
  if (!lifeline.ok()) GTEST_SKIP() << lifeline.status() << "; run where unshare(2) is allowed";
  UniqueFd read_end = (*lifeline)->TakeReadEnd();
  EXPECT_FALSE(IsHungUp(read_end.get(), 0));
  lifeline->reset();
  EXPECT_TRUE(IsHungUp(read_end.get(), -1));
}

TEST(Lifeline, ItsEndIsSeenAlthoughAChildHasInheritedItsDescriptors) {
  auto lifeline = Lifeline::Make();
  if (!lifeline.ok()) GTEST_SKIP() << lifeline.status() << "; run where unshare(2) is allowed";
  // A child forked while the lifeline stands holds copies of all of this process's descriptors.
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  UniqueFd read_end = (*lifeline)->TakeReadEnd();
  lifeline->reset();
  EXPECT_TRUE(IsHungUp(read_end.get(), -1));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace closeranks::elastic
