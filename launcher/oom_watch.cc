#include "launcher/oom_watch.h"

#include <algorithm>
#include <sstream>

namespace closeranks::launcher {
namespace {

// Nothing where it can't be read.
std::istringstream Open(Files& files, const std::string& path) {
  Result<std::string> text = files.Read(path);
  return std::istringstream(text.ok() ? *text : "");
}

}  // namespace

OomWatch::OomWatch(Files& files) : files_(files) {
  // "NUMBER:CONTROLLERS:PATH", where version 2 has number 0 and no controllers.
  std::istringstream groups = Open(files_, "/proc/self/cgroup");
  std::string group;
  while (path_.empty() && std::getline(groups, group)) {
    const size_t first = group.find(':'), second = group.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = group.substr(first + 1, second - first - 1);
    if (controllers != "memory" && !controllers.empty()) continue;
    const std::string root = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const std::string file = controllers.empty() ? "/memory.events.local" : "/memory.oom_control";
    // A container may see its own group as the root, under the path that its host has for it.
    for (const std::string& path : {root + group.substr(second + 1) + file, root + file}) {
      if (!path_.empty() || Count(path) < 0) continue;
      path_ = path;
      taken_ = old_ = Count(path);
    }
  }
}

bool OomWatch::TakeKill() {
  const bool is_one = !path_.empty() && Count(path_) > taken_;
  if (is_one) ++taken_;
  return is_one;
}

void OomWatch::ForgetOld() {
  if (path_.empty()) return;
  taken_ = std::max(taken_, old_);
  old_ = Count(path_);
}

int64_t OomWatch::Count(const std::string& path) const {
  std::istringstream lines = Open(files_, path);
  std::string name;
  int64_t count = -1;
  while (lines >> name >> count) {
    if (name == "oom_kill") return count;
  }
  return -1;
}

}  // namespace closeranks::launcher
