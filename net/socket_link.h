// A link over a connected stream socket, TCP or Unix.
#ifndef CLOSERANKS_NET_SOCKET_LINK_H_
#define CLOSERANKS_NET_SOCKET_LINK_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/event_loop.h"
#include "net/frame.h"
#include "net/link.h"

namespace closeranks::net {

// Descriptors pass over Unix sockets only (SCM_RIGHTS), each with the first byte of its frame.
class SocketLink final : public Link {
 public:
  struct Options {
    LinkOptions link = {};
    // Never reads past the frame that it is receiving, so that Detach works after a frame even when
    // the peer already sent what belongs to the next protocol. Costs two system calls a frame.
    bool exact_reads = false;
  };

  // `fd` is a connected stream socket. `loop` outlives the link.
  SocketLink(EventLoop& loop, UniqueFd fd) : SocketLink(loop, std::move(fd), Options()) {}
  SocketLink(EventLoop& loop, UniqueFd fd, Options options);
  ~SocketLink() override;
  SocketLink(const SocketLink&) = delete;
  SocketLink& operator=(const SocketLink&) = delete;

  void Start(LinkHandlers handlers) override;
  void Send(const FrameHeader& header, std::string payload, UniqueFd passed = {}) override;
  void ReceiveNow() override { OnReady({.readable = true}); }
  void FinishSending() override;
  void Close() override;
  void set_max_payload(uint32_t max_payload) override { reader_.set_max_payload(max_payload); }
  bool CanPassFds() const override { return is_unix_; }
  bool IsOpen() const override { return static_cast<bool>(fd_); }
  size_t queued_bytes() const override { return queued_bytes_; }
  const std::string& peer() const override { return peer_; }

  // Hands the socket (non-blocking) to another protocol, such as a data transport after a
  // handshake; callable from on_frame. The link is then over, without an on_closed. kUnavailable
  // when it has ended, while frames wait to be sent, or when bytes were received beyond the last
  // frame (which exact_reads prevents); the link is then as it was.
  Result<UniqueFd> Detach();

 private:
  struct Outgoing {
    EncodedFrameHeader header;
    std::string payload;
    UniqueFd passed;
    size_t sent = 0;  // bytes of header and payload
  };
  enum class Reading { kMore, kNothingNow, kOver };

  void OnReady(Ready ready);
  void Flush();
  ssize_t SendSome();
  void MarkSent(size_t bytes);
  void UpdateInterest();
  Reading ReadOnce();
  Status TakePassedFds(msghdr& message);
  Reading Deliver(std::string_view bytes);
  void FailAfterLastWords(Status why);
  void Fail(Status why);
  void ReportEnd();
  UniqueFd Retire();

  EventLoop& loop_;
  UniqueFd fd_;
  const Options options_;
  const bool is_unix_;
  std::string peer_;

  // Shared with the calls in progress, so that a handler may destroy the link that holds it.
  std::shared_ptr<LinkHandlers> handlers_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  bool watched_ = false;
  bool wants_write_ = false;
  bool finishing_ = false;
  Status end_;                    // not ok once failed
  TimerId end_timer_ = kNoTimer;  // reports the end, or reads last words first

  std::deque<Outgoing> queue_;
  size_t queued_bytes_ = 0;

  FrameReader reader_;
  std::deque<UniqueFd> passed_fds_;  // received, and their frames not yet whole
  size_t unread_bytes_ = 0;          // received beyond the frame being handled
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SOCKET_LINK_H_
