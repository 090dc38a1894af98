#include "net/socket_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "net/address.h"

namespace closeranks::net {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;
// Read from one link before the loop turns to the others.
constexpr int kReadsAtOnce = 16;
constexpr size_t kPiecesAtOnce = 32;
// Sent ahead of their frames; who sends more isn't one of ours.
constexpr size_t kMaxPassedFds = 16;

bool IsUnixSocket(int fd) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  PCHECK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0) << "descriptor " << fd;
  return domain == AF_UNIX;
}

std::string NamePeer(int fd, bool is_unix) {
  if (!is_unix) return PeerAddress(fd).ToString();
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
  return "process " + std::to_string(credentials.pid);
}

bool WouldBlock(int error_number) { return error_number == EAGAIN || error_number == EWOULDBLOCK; }

}  // namespace

SocketLink::SocketLink(EventLoop& loop, UniqueFd fd, Options options)
    : loop_(loop),
      fd_(std::move(fd)),
      options_(options),
      is_unix_(IsUnixSocket(fd_.get())),
      peer_(NamePeer(fd_.get(), is_unix_)),
      handlers_(std::make_shared<LinkHandlers>()),
      reader_(options.link.max_payload) {
  PCHECK(fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK) == 0);
}

SocketLink::~SocketLink() {
  Retire();
  loop_.Cancel(end_timer_);
}

void SocketLink::Start(LinkHandlers handlers) {
  CHECK(!watched_ && !handlers_->on_closed) << "started twice";
  CHECK(handlers.on_frame && handlers.on_closed);
  *handlers_ = std::move(handlers);
  if (!fd_) {
    if (!end_.ok()) ReportEnd();
    return;
  }
  wants_write_ = !queue_.empty();
  Status status = loop_.Watch(fd_.get(), {.readable = true, .writable = wants_write_},
                              [this](Ready ready) { OnReady(ready); });
  watched_ = status.ok();
  if (!watched_) Fail(std::move(status));
}

void SocketLink::OnReady(Ready ready) {
  if (ready.writable) Flush();
  if (!fd_ || !(ready.readable || ready.hung_up)) return;
  for (int i = 0; i < kReadsAtOnce; ++i) {
    if (ReadOnce() != Reading::kMore) return;
  }
}

void SocketLink::Send(const FrameHeader& header, std::string payload, UniqueFd passed) {
  CHECK(!passed || CanPassFds()) << "descriptors pass over Unix sockets only";
  if (!fd_ || finishing_) return;
  FrameHeader sealed = header;
  sealed.flags &= ~kFrameCarriesFd;
  if (passed) sealed.flags |= kFrameCarriesFd;
  sealed = WithPayload(sealed, payload);
  queued_bytes_ += kFrameHeaderBytes + payload.size();
  if (queued_bytes_ > options_.link.max_queued_bytes) {
    return Fail(ResourceExhausted(peer_ + " takes too little: " + std::to_string(queued_bytes_) +
                                  " bytes are waiting to be sent"));
  }
  queue_.push_back({EncodeFrameHeader(sealed), std::move(payload), std::move(passed)});
  // Behind others it waits for the socket to become writable as they do.
  if (queue_.size() == 1) Flush();
}

void SocketLink::Flush() {
  while (fd_ && !queue_.empty()) {
    const ssize_t sent = SendSome();
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (WouldBlock(errno)) break;
      return FailAfterLastWords(ErrnoStatus(errno, "sending to " + peer_));
    }
    MarkSent(static_cast<size_t>(sent));
  }
  if (fd_ && queue_.empty() && finishing_) shutdown(fd_.get(), SHUT_WR);
  UpdateInterest();
}

// One sendmsg of as many frames as fit, a descriptor going with the first byte of its frame only.
ssize_t SocketLink::SendSome() {
  std::array<iovec, kPiecesAtOnce> pieces;
  size_t count = 0;
  for (Outgoing& frame : queue_) {
    if (count + 2 > pieces.size()) break;
    if (count > 0 && frame.passed) break;
    const size_t of_header = std::min(frame.sent, frame.header.size());
    const size_t of_payload = frame.sent - of_header;
    if (of_header < frame.header.size()) {
      pieces[count++] = {frame.header.data() + of_header, frame.header.size() - of_header};
    }
    if (of_payload < frame.payload.size()) {
      pieces[count++] = {frame.payload.data() + of_payload, frame.payload.size() - of_payload};
    }
  }
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (const int passed = queue_.front().passed.get(); passed >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &passed, sizeof(passed));
  }
  return sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void SocketLink::MarkSent(size_t bytes) {
  queued_bytes_ -= bytes;
  // The descriptor has gone with the first byte; ours isn't needed any more.
  if (bytes > 0) queue_.front().passed.Reset();
  while (bytes > 0) {
    Outgoing& frame = queue_.front();
    const size_t left = frame.header.size() + frame.payload.size() - frame.sent;
    const size_t part = std::min(bytes, left);
    frame.sent += part;
    bytes -= part;
    if (part == left) queue_.pop_front();
  }
}

void SocketLink::UpdateInterest() {
  if (!watched_ || wants_write_ == !queue_.empty()) return;
  wants_write_ = !queue_.empty();
  loop_.Modify(fd_.get(), {.readable = true, .writable = wants_write_});
}

SocketLink::Reading SocketLink::ReadOnce() {
  std::array<char, kReadBytes> bytes;
  const size_t wanted =
      options_.exact_reads ? std::min(bytes.size(), reader_.BytesWanted()) : bytes.size();
  iovec piece{bytes.data(), wanted};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxPassedFds * sizeof(int))> control;
  if (is_unix_) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  const ssize_t received = recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0) {
    if (errno == EINTR) return Reading::kMore;
    if (WouldBlock(errno)) return Reading::kNothingNow;
    Fail(ErrnoStatus(errno, "receiving from " + peer_));
    return Reading::kOver;
  }
  if (Status status = TakePassedFds(message); !status.ok()) {
    Fail(std::move(status));
    return Reading::kOver;
  }
  if (received == 0) {
    Fail(PeerLost(peer_ + (reader_.InFrame() ? " closed the connection within a frame"
                                             : " closed the connection")));
    return Reading::kOver;
  }
  return Deliver({bytes.data(), static_cast<size_t>(received)});
}

Status SocketLink::TakePassedFds(msghdr& message) {
  if (!is_unix_) return OkStatus();
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      passed_fds_.emplace_back(fd);
    }
  }
  // Also how the kernel says that we have no descriptor left to receive one.
  if (message.msg_flags & MSG_CTRUNC) {
    return ResourceExhausted("a descriptor from " + peer_ + " was lost: the limit is reached");
  }
  if (passed_fds_.size() > kMaxPassedFds) {
    return Mismatch(peer_ + " sent descriptors without frames for them");
  }
  return OkStatus();
}

SocketLink::Reading SocketLink::Deliver(std::string_view bytes) {
  const std::weak_ptr<const bool> alive = alive_;
  while (!bytes.empty()) {
    Result<std::optional<Frame>> read = reader_.Next(&bytes);
    if (!read.ok()) {
      Fail(read.status().WithContext("from " + peer_));
      return Reading::kOver;
    }
    if (!read->has_value()) break;
    Frame frame = **std::move(read);
    UniqueFd passed;
    if (frame.header.flags & kFrameCarriesFd) {
      if (passed_fds_.empty()) {
        Fail(Mismatch(peer_ + " announced a descriptor that didn't come"));
        return Reading::kOver;
      }
      passed = std::move(passed_fds_.front());
      passed_fds_.pop_front();
    }
    unread_bytes_ = bytes.size();
    const std::shared_ptr<LinkHandlers> handlers = handlers_;
    handlers->on_frame(frame.header, std::move(frame.payload), std::move(passed));
    if (alive.expired() || !fd_) return Reading::kOver;
    unread_bytes_ = 0;
  }
  return Reading::kMore;
}

void SocketLink::FinishSending() {
  if (!fd_ || finishing_) return;
  finishing_ = true;
  if (queue_.empty()) shutdown(fd_.get(), SHUT_WR);
}

void SocketLink::Close() { Fail(Aborted("the link to " + peer_ + " was closed by this side")); }

Result<UniqueFd> SocketLink::Detach() {
  if (!fd_) return Unavailable("the link to " + peer_ + " has ended");
  if (!queue_.empty()) {
    return Unavailable(std::to_string(queued_bytes_) + " bytes to " + peer_ + " aren't sent yet");
  }
  if (unread_bytes_ > 0 || reader_.InFrame() || !passed_fds_.empty()) {
    return Unavailable("more has been received from " + peer_ + " than was handled");
  }
  return Retire();
}

// The peer may have said why before it closed, and that is still in the socket: read it first, from
// the loop, as Send never calls back. Before Start that is left to the first reads, which find the
// end.
void SocketLink::FailAfterLastWords(Status why) {
  queue_.clear();
  queued_bytes_ = 0;
  finishing_ = true;
  UpdateInterest();
  if (!handlers_->on_frame) return;
  end_timer_ = loop_.RunAfter(Duration::zero(), [this, why = std::move(why)] {
    Reading reading;
    while ((reading = ReadOnce()) == Reading::kMore) {
    }
    if (reading == Reading::kNothingNow) Fail(why);
  });
}

void SocketLink::Fail(Status why) {
  if (!fd_) return;
  loop_.Cancel(end_timer_);
  end_ = std::move(why);
  Retire();
  // Before Start there is nobody to tell yet.
  if (handlers_->on_closed) ReportEnd();
}

void SocketLink::ReportEnd() {
  end_timer_ = loop_.RunAfter(Duration::zero(), [this] {
    // Let go of first: what the handlers hold may be what owns this link.
    const std::shared_ptr<LinkHandlers> handlers = std::move(handlers_);
    handlers_ = std::make_shared<LinkHandlers>();
    const Status why = end_;
    handlers->on_closed(why);
  });
}

// Takes the socket out of the loop and of the link.
UniqueFd SocketLink::Retire() {
  if (watched_) loop_.Unwatch(fd_.get());
  watched_ = false;
  queue_.clear();
  queued_bytes_ = 0;
  passed_fds_.clear();
  return std::move(fd_);
}

}  // namespace closeranks::net
