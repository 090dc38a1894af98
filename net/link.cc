#include "net/link.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;
// Read from one link before the loop turns to the others.
constexpr int kReadsAtOnce = 16;
constexpr size_t kPiecesAtOnce = 32;
// Sent ahead of their frames; who sends more isn't one of ours.
constexpr size_t kMaxPassed = 16;

}  // namespace

Link::Link(Loop& loop, std::unique_ptr<Socket> socket, LinkOptions options)
    : loop_(loop),
      socket_(std::move(socket)),
      options_(options),
      can_pass_sockets_(socket_->can_pass_sockets()),
      peer_(socket_->peer()),
      handlers_(std::make_shared<LinkHandlers>()),
      reader_(options.max_payload) {}

Link::~Link() {
  Retire();
  loop_.Cancel(end_timer_);
  loop_.Cancel(read_timer_);
}

void Link::Start(LinkHandlers handlers) {
  CHECK(!watched_ && !handlers_->on_closed) << "started twice";
  CHECK(handlers.on_frame && handlers.on_closed);
  *handlers_ = std::move(handlers);
  if (socket_ == nullptr) {
    if (!end_.ok()) ReportEnd();
    return;
  }
  wants_write_ = HasToWrite();
  Status status = loop_.Watch(socket_->descriptor(), {.readable = true, .writable = wants_write_},
                              [this](Ready ready) { OnReady(ready); });
  watched_ = status.ok();
  if (!watched_) return Fail(std::move(status));
  ReadLater();
}

void Link::OnReady(Ready ready) {
  if (ready.writable) Flush();
  if (socket_ == nullptr || !(ready.readable || ready.hung_up)) return;
  for (int i = 0; i < kReadsAtOnce; ++i) {
    if (ReadOnce() != Reading::kMore) return;
  }
  ReadLater();
}

void Link::ReadLater() {
  if (!socket_->has_unread()) return;
  loop_.Cancel(read_timer_);
  read_timer_ = loop_.RunAfter(Duration::zero(), [this] { OnReady({.readable = true}); });
}

void Link::Send(const FrameHeader& header, std::string payload, std::unique_ptr<Socket> passed) {
  CHECK(!passed || can_pass_sockets_) << "sockets don't pass to " << peer_;
  if (socket_ == nullptr || finishing_) return;
  FrameHeader sealed = header;
  sealed.flags &= ~kFrameCarriesFd;
  if (passed) sealed.flags |= kFrameCarriesFd;
  sealed = WithPayload(sealed, payload);
  queued_bytes_ += kFrameHeaderBytes + payload.size();
  if (queued_bytes_ > options_.max_queued_bytes) {
    return Fail(ResourceExhausted(peer_ + " takes too little: " + std::to_string(queued_bytes_) +
                                  " bytes are waiting to be sent"));
  }
  queue_.push_back({EncodeFrameHeader(sealed), std::move(payload), std::move(passed)});
  // Behind others it waits for the socket to become writable as they do.
  if (queue_.size() == 1) Flush();
}

void Link::Flush() {
  while (socket_ != nullptr && HasToWrite()) {
    const ssize_t sent = SendSome();
    if (sent < 0) {
      if (errno == EAGAIN) break;
      return FailAfterLastWords(ErrnoStatus(errno, "sending to " + peer_));
    }
    MarkSent(static_cast<size_t>(sent));
  }
  if (socket_ != nullptr && queue_.empty() && finishing_) socket_->FinishSending();
  UpdateInterest();
}

// One call with as many frames as fit, a socket going with the first byte of its frame only.
ssize_t Link::SendSome() {
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
  const bool passes = !queue_.empty() && queue_.front().passed != nullptr;
  return socket_->Send({pieces.data(), count}, passes ? &queue_.front().passed : nullptr);
}

void Link::MarkSent(size_t bytes) {
  queued_bytes_ -= bytes;
  while (bytes > 0) {
    Outgoing& frame = queue_.front();
    const size_t left = frame.header.size() + frame.payload.size() - frame.sent;
    const size_t part = std::min(bytes, left);
    frame.sent += part;
    bytes -= part;
    if (part == left) queue_.pop_front();
  }
}

void Link::UpdateInterest() {
  if (!watched_ || wants_write_ == HasToWrite()) return;
  wants_write_ = HasToWrite();
  loop_.Modify(socket_->descriptor(), {.readable = true, .writable = wants_write_});
}

Link::Reading Link::ReadOnce() {
  std::array<char, kReadBytes> bytes;
  const size_t wanted =
      options_.exact_reads ? std::min(bytes.size(), reader_.BytesWanted()) : bytes.size();
  const iovec piece{bytes.data(), wanted};
  std::vector<std::unique_ptr<Socket>> passed;
  const ssize_t received = socket_->Receive({&piece, 1}, can_pass_sockets_ ? &passed : nullptr);
  if (received < 0) {
    if (errno == EAGAIN) return Reading::kNothingNow;
    Fail(ErrnoStatus(errno, "receiving from " + peer_));
    return Reading::kOver;
  }
  for (std::unique_ptr<Socket>& socket : passed) passed_.push_back(std::move(socket));
  if (passed_.size() > kMaxPassed) {
    Fail(Mismatch(peer_ + " sent sockets without frames for them"));
    return Reading::kOver;
  }
  if (received == 0) {
    Fail(PeerLost(peer_ + (reader_.InFrame() ? " closed the connection within a frame"
                                             : " closed the connection")));
    return Reading::kOver;
  }
  return Deliver({bytes.data(), static_cast<size_t>(received)});
}

Link::Reading Link::Deliver(std::string_view bytes) {
  const std::weak_ptr<const bool> alive = alive_;
  while (!bytes.empty()) {
    Result<std::optional<Frame>> read = reader_.Next(&bytes);
    if (!read.ok()) {
      Fail(read.status().WithContext("from " + peer_));
      return Reading::kOver;
    }
    if (!read->has_value()) break;
    Frame frame = **std::move(read);
    std::unique_ptr<Socket> passed;
    if (frame.header.flags & kFrameCarriesFd) {
      if (passed_.empty()) {
        Fail(Mismatch(peer_ + " announced a socket that didn't come"));
        return Reading::kOver;
      }
      passed = std::move(passed_.front());
      passed_.pop_front();
    }
    unread_bytes_ = bytes.size();
    const std::shared_ptr<LinkHandlers> handlers = handlers_;
    handlers->on_frame(frame.header, std::move(frame.payload), std::move(passed));
    if (alive.expired() || socket_ == nullptr) return Reading::kOver;
    unread_bytes_ = 0;
  }
  return Reading::kMore;
}

void Link::FinishSending() {
  if (socket_ == nullptr || finishing_) return;
  finishing_ = true;
  Flush();
}

void Link::Close() { Fail(Aborted("the link to " + peer_ + " was closed by this side")); }

Result<std::unique_ptr<Socket>> Link::Detach() {
  if (socket_ == nullptr) return Unavailable("the link to " + peer_ + " has ended");
  if (HasToWrite()) {
    return Unavailable(std::to_string(queued_bytes_) + " bytes to " + peer_ + " aren't sent yet");
  }
  if (unread_bytes_ > 0 || reader_.InFrame() || !passed_.empty()) {
    return Unavailable("more has been received from " + peer_ + " than was handled");
  }
  return Retire();
}

// The peer may have said why before it closed, and that is still in the socket: read it first, from
// the loop, as Send never calls back. Before Start that is left to the first reads, which find the
// end.
void Link::FailAfterLastWords(Status why) {
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

void Link::Fail(Status why) {
  if (socket_ == nullptr) return;
  loop_.Cancel(end_timer_);
  end_ = std::move(why);
  Retire();
  // Before Start there is nobody to tell yet.
  if (handlers_->on_closed) ReportEnd();
}

void Link::ReportEnd() {
  end_timer_ = loop_.RunAfter(Duration::zero(), [this] {
    // Let go of first: what the handlers hold may be what owns this link.
    const std::shared_ptr<LinkHandlers> handlers = std::move(handlers_);
    handlers_ = std::make_shared<LinkHandlers>();
    const Status why = end_;
    handlers->on_closed(why);
  });
}

// Takes the socket out of the loop and of the link.
std::unique_ptr<Socket> Link::Retire() {
  if (watched_) loop_.Unwatch(socket_->descriptor());
  watched_ = false;
  queue_.clear();
  queued_bytes_ = 0;
  passed_.clear();
  return std::move(socket_);
}

}  // namespace closeranks::net
