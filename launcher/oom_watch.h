// Notices what the kernel kills for want of memory, which looks like any other SIGKILL.
#ifndef CLOSERANKS_LAUNCHER_OOM_WATCH_H_
#define CLOSERANKS_LAUNCHER_OOM_WATCH_H_

#include <cstdint>
#include <string>

#include "base/files.h"

namespace closeranks::launcher {

// By the count of such kills that Linux keeps for each control group, of version 1 or 2; never any
// where there is none to be read. A kill is counted before the signal is sent; whom it hit isn't
// said, so it may have been another process of the group.
class OomWatch {
 public:
  // Of this process's group, which those that it starts belong to. `files` outlives this.
  explicit OomWatch(Files& files);

  // For a process that a SIGKILL has ended: whether there was a kill that nobody has taken yet, and
  // that isn't forgotten. Takes it.
  bool TakeKill();
  // What was there already at the call before this one was of others.
  void ForgetOld();

 private:
  // The count; -1: `path` doesn't tell.
  int64_t Count(const std::string& path) const;

  Files& files_;
  std::string path_;  // empty: there is none
  int64_t taken_ = 0;
  int64_t old_ = 0;  // as ForgetOld last found it
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_OOM_WATCH_H_
