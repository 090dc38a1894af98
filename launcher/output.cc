#include "launcher/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

namespace closeranks::launcher {
namespace {

// A pipe that poll calls writable takes so much at once.
constexpr size_t kMostUnlessItMayBlock = PIPE_BUF;

// O_NONBLOCK belongs to the open file, which the shell and other programs share: so this needs one
// of its own. None of what else it may be: a file never waits, and others can't be opened anew.
UniqueFd OpenAnew(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || (!S_ISFIFO(status.st_mode) && isatty(fd) == 0)) return {};
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return UniqueFd(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

bool IsFile(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

Output::Output(int fd, net::Loop& loop, size_t most_backlog)
    : fd_(fd),
      own_(OpenAnew(fd)),
      may_block_(!own_ && !IsFile(fd)),
      loop_(loop),
      most_backlog_(most_backlog) {
  if (own_) fd_ = own_.get();
}

Output::~Output() { WatchUntilTaken(false); }

void Output::Write(std::string_view text) {
  if (is_gone_) return;
  if (dropped_ > 0 || backlog_.size() + text.size() > most_backlog_) {
    dropped_ += text.size();
    return;
  }
  const bool was_behind = is_behind();
  backlog_ += text;
  if (!was_behind) WriteBacklog();
}

void Output::WriteBacklog() {
  while (is_behind()) {
    const int64_t written = WriteSome(std::string_view(backlog_).substr(written_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return WatchUntilTaken(true);
    if (written < 0) {
      is_gone_ = true;
      backlog_.clear();
      break;
    }
    written_ += static_cast<size_t>(written);
    if (written_ < backlog_.size()) continue;
    backlog_.clear();
    written_ = 0;
    if (dropped_ > 0) {
      backlog_ = "closeranks: " + std::to_string(dropped_) +
                 " bytes of output are missing here, as nobody read them\n";
      dropped_ = 0;
    }
  }
  WatchUntilTaken(false);
}

int64_t Output::WriteSome(std::string_view text) const {
  if (!may_block_) return write(fd_, text.data(), text.size());
  pollfd room = {fd_, POLLOUT, 0};
  if (poll(&room, 1, 0) == 0) {
    errno = EAGAIN;
    return -1;
  }
  return write(fd_, text.data(), std::min(text.size(), kMostUnlessItMayBlock));
}

void Output::WatchUntilTaken(bool watch) {
  if (watch == is_watched_) return;
  is_watched_ = watch;
  if (!watch) return loop_.Unwatch(fd_);
  // Without a watch it goes on with the next that is written.
  is_watched_ = loop_.Watch(fd_, {.writable = true}, [this](net::Ready) { WriteBacklog(); }).ok();
}

void Output::Flush() {
  while (is_behind()) {
    pollfd room = {fd_, POLLOUT, 0};
    poll(&room, 1, -1);
    WriteBacklog();
  }
}

}  // namespace closeranks::launcher
