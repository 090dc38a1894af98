#include "launcher/oom_watch.h"

#include "base/simulated_files.h"
#include "gtest/gtest.h"

namespace closeranks::launcher {
namespace {

constexpr const char* kVersion1 = "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu:/\n0::/\n";
constexpr const char* kVersion2 = "0::/kubepods/pod1\n";

class OomWatchTest : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(files_.MakeFolder(path.substr(0, path.rfind('/'))).ok());
    ASSERT_TRUE(files_.Replace(path, text).ok());
  }

  SimulatedFiles files_;
};

TEST_F(OomWatchTest, CountsKillsInAGroupOfVersion1) {
  Write("/proc/self/cgroup", kVersion1);
  const std::string path = "/sys/fs/cgroup/memory/jobs/7/memory.oom_control";
  Write(path, "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  OomWatch watch(files_);
  EXPECT_FALSE(watch.TakeKill());
  Write(path, "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
  EXPECT_TRUE(watch.TakeKill());
  EXPECT_TRUE(watch.TakeKill());
  EXPECT_FALSE(watch.TakeKill());
}

TEST_F(OomWatchTest, ForgetsAKillThatWasSomebodyElses) {
  Write("/proc/self/cgroup", kVersion2);
  const std::string path = "/sys/fs/cgroup/kubepods/pod1/memory.events.local";
  Write(path, "oom_kill 0\n");
  OomWatch watch(files_);
  watch.ForgetOld();
  Write(path, "oom_kill 1\n");
  watch.ForgetOld();
  // Not at once: who was killed may take long to go.
  watch.ForgetOld();
  Write(path, "oom_kill 2\n");
  EXPECT_TRUE(watch.TakeKill());
  EXPECT_FALSE(watch.TakeKill());
}

TEST_F(OomWatchTest, CountsKillsInAGroupOfVersion2) {
  Write("/proc/self/cgroup", kVersion2);
  const std::string path = "/sys/fs/cgroup/kubepods/pod1/memory.events.local";
  Write(path, "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n");
  OomWatch watch(files_);
  EXPECT_FALSE(watch.TakeKill());
  Write(path, "low 0\nhigh 0\nmax 20\noom 2\noom_kill 1\noom_group_kill 0\n");
  EXPECT_TRUE(watch.TakeKill());
}

TEST_F(OomWatchTest, FindsAContainersGroupAtTheRoot) {
  Write("/proc/self/cgroup", kVersion2);
  Write("/sys/fs/cgroup/memory.events.local", "oom_kill 0\n");
  OomWatch watch(files_);
  Write("/sys/fs/cgroup/memory.events.local", "oom_kill 1\n");
  EXPECT_TRUE(watch.TakeKill());
}

TEST_F(OomWatchTest, KnowsOfNoneWhereNothingTells) {
  OomWatch without_groups(files_);
  EXPECT_FALSE(without_groups.TakeKill());
  Write("/proc/self/cgroup", kVersion1);
  OomWatch without_count(files_);
  EXPECT_FALSE(without_count.TakeKill());
}

}  // namespace
}  // namespace closeranks::launcher
