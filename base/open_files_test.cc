#include "base/open_files.h"

#include <fcntl.h>

#include "base/unique_fd.h"
#include "gtest/gtest.h"

namespace closeranks {
namespace {

TEST(OpenFiles, TheLimitIsRaisedAndPutBack) {
  rlimit first = RaiseOpenFilesLimit();
  rlimit low = first;
  low.rlim_cur = 100;
  SetOpenFilesLimit(low);
  EXPECT_EQ(OpenFilesLimit(), 100u);
  EXPECT_EQ(RaiseOpenFilesLimit().rlim_cur, 100u);
  EXPECT_EQ(OpenFilesLimit(), first.rlim_max);
  SetOpenFilesLimit(first);
  EXPECT_EQ(OpenFilesLimit(), first.rlim_cur);
}

TEST(OpenFiles, AreCounted) {
  size_t before = CountOpenFiles();
  UniqueFd one(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(CountOpenFiles(), before + 1);
}

}  // namespace
}  // namespace closeranks
