// An ordered, reliable connection to one peer that carries frames: what rendezvous and elastic talk
// over.
#ifndef CLOSERANKS_NET_LINK_H_
#define CLOSERANKS_NET_LINK_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "net/frame.h"
#include "net/loop.h"
#include "net/socket.h"

namespace closeranks::net {

// What a link tells its owner, on the thread that drives the loop and never from inside a call of
// the link. A handler may send, close or destroy the link.
struct LinkHandlers {
  // A whole, verified frame. `passed` is the socket that came with it, or none.
  std::function<void(const FrameHeader& header, std::string payload,
                     std::unique_ptr<Socket> passed)>
      on_frame;

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
  // Of frames that were sent and that the socket hasn't taken yet. Bytes.
  size_t max_queued_bytes = size_t{256} << 20;
  // Never reads past the frame that it is receiving, so that Detach works after a frame even when
  // the peer already sent what belongs to the next protocol. Costs two system calls a frame.
  bool exact_reads = false;
};

// Single-threaded: used by the thread that drives the loop it was made on. Destroying it closes the
// connection, and no handler is called any more.
class Link final {
 public:
  // `loop` outlives the link.
  Link(Loop& loop, std::unique_ptr<Socket> socket) : Link(loop, std::move(socket), {}) {}
  Link(Loop& loop, std::unique_ptr<Socket> socket, LinkOptions options);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Begins to receive. Once, before anything is received; frames may be sent before.
  void Start(LinkHandlers handlers);

  // Queues a frame with the kind, flags, generation and tag of `header`; length and checksum are
  // filled in. Never blocks and never calls back; what can't be sent shows in on_closed. On a link
  // that has ended, or after FinishSending, the frame is dropped. `payload` is at most kMaxPayload
  // bytes (CHECK). `passed` is sent along, where CanPassSockets (CHECK).
  void Send(const FrameHeader& header, std::string payload, std::unique_ptr<Socket> passed = {});

  // Hands out what has already come, from inside this call: for an owner that is about to destroy
  // the link, as it knows that its peer is dead.
  void ReceiveNow() { OnReady({.readable = true}); }

  // After what is queued the peer sees the end. This side goes on receiving until the peer has
  // closed too, so that last words arrive. It has no time limit of its own.
  void FinishSending();

  // Drops what is queued, and closes. on_closed follows with kAborted.
  void Close();

  // From now on: small before the handshake, kMaxPayload after it.
  void set_max_payload(uint32_t max_payload) { reader_.set_max_payload(max_payload); }

  bool CanPassSockets() const { return can_pass_sockets_; }
  // Neither closed nor failed (on_closed may still be on its way), nor detached.
  bool IsOpen() const { return socket_ != nullptr; }
  // Not yet taken by the socket.
  size_t queued_bytes() const { return queued_bytes_; }
  // The other end as messages name it, such as "10.0.0.7:29400".
  const std::string& peer() const { return peer_; }

  // Hands the socket to another protocol, such as a data transport after a handshake; callable from
  // on_frame. The link is then over, without an on_closed. kUnavailable when it has ended, while
  // frames wait to be sent, or when bytes were received beyond the last frame (which exact_reads
  // prevents); the link is then as it was.
  Result<std::unique_ptr<Socket>> Detach();

 private:
  struct Outgoing {
    EncodedFrameHeader header;
    std::string payload;
    std::unique_ptr<Socket> passed;
    size_t sent = 0;  // bytes of header and payload
  };
  enum class Reading { kMore, kNothingNow, kOver };

  void OnReady(Ready ready);
  void ReadLater();
  void Flush();
  ssize_t SendSome();
  void MarkSent(size_t bytes);
  void UpdateInterest();
  bool HasToWrite() const { return !queue_.empty() || socket_->has_unsent(); }
  Reading ReadOnce();
  Reading Deliver(std::string_view bytes);
  void FailAfterLastWords(Status why);
  void Fail(Status why);
  void ReportEnd();
  std::unique_ptr<Socket> Retire();

  Loop& loop_;
  std::unique_ptr<Socket> socket_;
  const LinkOptions options_;
  const bool can_pass_sockets_;
  const std::string peer_;

  // Shared with the calls in progress, so that a handler may destroy the link that holds it.
  std::shared_ptr<LinkHandlers> handlers_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  bool watched_ = false;
  bool wants_write_ = false;
  bool finishing_ = false;
  Status end_;                     // not ok once failed
  TimerId end_timer_ = kNoTimer;   // reports the end, or reads last words first
  TimerId read_timer_ = kNoTimer;  // reads what the descriptor doesn't show

  std::deque<Outgoing> queue_;
  size_t queued_bytes_ = 0;

  FrameReader reader_;
  std::deque<std::unique_ptr<Socket>> passed_;  // received, and their frames not yet whole
  size_t unread_bytes_ = 0;                     // received beyond the frame being handled
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_LINK_H_
