// A file descriptor that somebody owns.
#ifndef CLOSERANKS_BASE_UNIQUE_FD_H_
#define CLOSERANKS_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace closeranks {

// Closes the descriptor when it goes. Movable, not copyable; -1 means none.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // Gives up ownership.
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_UNIQUE_FD_H_
