// A connection that carries bytes, as a seam: of the system (SystemSocket), encrypted (TlsSocket),
// or of a simulated network.
#ifndef CLOSERANKS_NET_SOCKET_H_
#define CLOSERANKS_NET_SOCKET_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace closeranks::net {

// One end of a connected stream, non-blocking; destroying it closes the end. One thread at a time.
class Socket {
 public:
  virtual ~Socket() = default;

  // What a Loop, and the engine of the collectives, waits for. Valid as long as the socket.
  virtual int descriptor() const = 0;

  // As recvmsg and sendmsg: the bytes that were moved, 0 from Receive for the peer's end, or -1
  // with errno set. EAGAIN: nothing now; EINTR never. Send never raises SIGPIPE.
  //
  // What was passed along with the bytes received is appended to `*passed`; null: it is dropped.
  virtual ssize_t Receive(std::span<const iovec> parts,
                          std::vector<std::unique_ptr<Socket>>* passed) = 0;
  // `*passed`, a socket of the same kind, goes with the first byte and is then none; null: nothing
  // is passed. Needs can_pass_sockets().
  virtual ssize_t Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) = 0;

  // From now on the connection fails once nothing was acknowledged for so long of what was sent.
  // Else behind a cut link the system goes on for a quarter of an hour, ever more seldom, and long
  // after the link has healed. Of no effect on Unix sockets; simulated networks deliver at once
  // when they heal.
  virtual void GiveUpAfter(Duration) {}

  // After what was sent the peer sees the end; this end can still receive.
  virtual void FinishSending() = 0;

  // Bytes wait here that the descriptor doesn't show: Receive gives them at once.
  virtual bool has_unread() const { return false; }
  // Send took bytes that haven't gone yet: once the descriptor is writable, Send again, of nothing
  // if there is nothing else (EAGAIN: still not all gone).
  virtual bool has_unsent() const { return false; }

  virtual bool can_pass_sockets() const { return false; }
  // The other end for people: "10.0.0.7:29400", "process 4711".
  virtual std::string peer() const = 0;

  // Gives up the connection as a descriptor of the system, for those who need more than is here.
  // None where there is no such thing (encrypted, simulated): the socket is then as it was.
  virtual UniqueFd Release() { return {}; }
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SOCKET_H_
