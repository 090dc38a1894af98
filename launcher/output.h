// What the supervisor writes to one of its streams, without ever waiting for whoever reads it.
#ifndef CLOSERANKS_LAUNCHER_OUTPUT_H_
#define CLOSERANKS_LAUNCHER_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "net/loop.h"

namespace closeranks::launcher {

// A reader that stops without closing, such as a terminal after Ctrl-S or `less`, gets later what
// fits into the backlog; how much of the rest is missing is said in its place. A reader that is
// gone gets nothing, and that is no error. Lives on the loop's thread.
class Output {
 public:
  static constexpr size_t kMostBacklog = 4 << 20;

  // Writes to `fd`, which stays the caller's and stays as it is. `loop` outlives it.
  Output(int fd, net::Loop& loop, size_t most_backlog = kMostBacklog);
  // What is still in the backlog is lost.
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void Write(std::string_view text);
  // Something waits for the reader.
  bool is_behind() const { return !backlog_.empty(); }
  // Blocks until the reader has taken it all, or is gone.
  void Flush();

 private:
  // As much as is taken without waiting.
  void WriteBacklog();
  // As write(2), but never waits.
  int64_t WriteSome(std::string_view text) const;
  void WatchUntilTaken(bool watch);

  int fd_;
  UniqueFd own_;    // the same pipe or terminal, opened anew so that only this doesn't wait for it
  bool may_block_;  // it couldn't be: a write waits unless poll says that there is room
  net::Loop& loop_;
  const size_t most_backlog_;
  std::string backlog_;
  size_t written_ = 0;  // of the backlog
  size_t dropped_ = 0;  // bytes since there was room last
  bool is_watched_ = false;
  bool is_gone_ = false;
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_OUTPUT_H_
