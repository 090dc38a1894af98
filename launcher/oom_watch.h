// Notices what the kernel kills for want of memory, which looks like any other SIGKILL.
#ifndef CLOSERANKS_LAUNCHER_OOM_WATCH_H_
#define CLOSERANKS_LAUNCHER_OOM_WATCH_H_

#include <cstdint>
#include <string>

#include "base/files.h"

namespace closeranks::launcher {

// By the count of such kills that Linux keeps for each control group, of version 1 or 2; never any
// where there is none to be read. A kill is counted before the signal is sent.
class OomWatch {
 public:
  // Of this process's group, which those that it starts belong to. `files` outlives this.
  explicit OomWatch(Files& files);

  // Whether there was a kill since this was made, or since Forget.
  bool HasKilled();
  void Forget() { seen_ = newest_; }

 private:
  // The count; -1: `path` doesn't tell.
  int64_t Count(const std::string& path) const;

  Files& files_;
  std::string path_;  // empty: there is none
  int64_t newest_ = 0;
  int64_t seen_ = 0;
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_OOM_WATCH_H_
