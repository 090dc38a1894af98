// An ordered, reliable connection to one peer that carries frames: the seam between those who talk
// (rendezvous, elastic) and what they talk over (sockets, the simulated network).
#ifndef CLOSERANKS_NET_LINK_H_
#define CLOSERANKS_NET_LINK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/frame.h"

namespace closeranks::net {

// What a link tells its owner, on the thread that drives the loop and never from inside a call of
// the link. A handler may send, close or destroy the link.
struct LinkHandlers {
  // A whole, verified frame. `passed` is the descriptor that came with it, or none.
  std::function<void(const FrameHeader& header, std::string payload, UniqueFd passed)> on_frame;

  // The end, exactly once, after the last on_frame; the link is then only good for destroying.
  //   kPeerLost           the peer closed it, died, or the network gave up on it
  //   kAborted            Close was called here
  //   kMismatch           the peer sent what isn't a frame
  //   kResourceExhausted  the peer takes so little that more than max_queued_bytes were waiting
  //   kTimeout, kUnavailable  other errors of the network
  std::function<void(const Status& why)> on_closed;
};

struct LinkOptions {
  // Longer payloads end the link; see set_max_payload. Bytes.
  uint32_t max_payload = kMaxPayload;
  // Of frames that were sent and that the network hasn't taken yet. Bytes.
  size_t max_queued_bytes = size_t{256} << 20;
};

// Single-threaded: used by the thread that drives the loop it was made on. Destroying it closes the
// connection, and no handler is called any more.
class Link {
 public:
  virtual ~Link() = default;

  // Begins to receive. Once, before anything is received; frames may be sent before.
  virtual void Start(LinkHandlers handlers) = 0;

  // Queues a frame with the kind, flags, generation and tag of `header`; length and checksum are
  // filled in. Never blocks and never calls back; what can't be sent shows in on_closed. On a link
  // that has ended, or after FinishSending, the frame is dropped. `payload` is at most kMaxPayload
  // bytes (CHECK). `passed` is sent along, where CanPassFds (CHECK).
  virtual void Send(const FrameHeader& header, std::string payload, UniqueFd passed = {}) = 0;

  // Hands out what has already come, from inside this call: for an owner that is about to destroy
  // the link, as it knows that its peer is dead.
  virtual void ReceiveNow() = 0;

  // After what is queued the peer sees the end. This side goes on receiving until the peer has
  // closed too, so that last words arrive. It has no time limit of its own.
  virtual void FinishSending() = 0;

  // Drops what is queued, and closes. on_closed follows with kAborted.
  virtual void Close() = 0;

  // From now on: small before the handshake, kMaxPayload after it.
  virtual void set_max_payload(uint32_t max_payload) = 0;

  virtual bool CanPassFds() const = 0;
  // Neither closed nor failed (on_closed may still be on its way), nor detached.
  virtual bool IsOpen() const = 0;
  // Not yet taken by the network.
  virtual size_t queued_bytes() const = 0;
  // The other end as messages name it, such as "10.0.0.7:29400".
  virtual const std::string& peer() const = 0;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_LINK_H_
