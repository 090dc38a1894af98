// The kernel's sockets.
#ifndef CLOSERANKS_NET_SYSTEM_SOCKET_H_
#define CLOSERANKS_NET_SYSTEM_SOCKET_H_

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/socket.h"

namespace closeranks::net {

// Sockets pass over Unix sockets only (SCM_RIGHTS). What is received that way may be any
// descriptor, such as a pipe's end, which then only hangs up.
class SystemSocket final : public Socket {
 public:
  // `fd` is open; it is made non-blocking, and TCP's delay (Nagle) is switched off.
  explicit SystemSocket(UniqueFd fd);
  // Two connected Unix sockets.
  static Result<std::pair<std::unique_ptr<Socket>, std::unique_ptr<Socket>>> MakePair();

  int descriptor() const override { return fd_.get(); }
  ssize_t Receive(std::span<const iovec> parts,
                  std::vector<std::unique_ptr<Socket>>* passed) override;
  ssize_t Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) override;
  void GiveUpAfter(Duration silence) override;
  void FinishSending() override;
  bool can_pass_sockets() const override { return is_unix_; }
  std::string peer() const override;
  UniqueFd Release() override { return std::move(fd_); }

 private:
  UniqueFd fd_;
  bool is_unix_ = false;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SYSTEM_SOCKET_H_
