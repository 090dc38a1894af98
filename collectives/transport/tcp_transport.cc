#include "collectives/transport/tcp_transport.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "collectives/transport/inbox_transport.h"
#include "glog/logging.h"
#include "net/frame.h"

namespace closeranks::collectives {
namespace {

// What our frames carry in the flags that net leaves to us.
constexpr uint16_t kAnnounces = 0x0100;     // the payload begins with the fingerprint
constexpr uint16_t kAnnounceOnly = 0x0200;  // MessageKind::kAnnounce
constexpr uint16_t kNotice = 0x0400;        // MessageKind::kNotice

constexpr size_t kReadBufferBytes = 64 << 10;
// At most so much in one Poll, so that whoever waits for the engine's lock gets it soon.
constexpr size_t kPollBytes = 2 << 20;
constexpr int kMaxParts = 64;  // of one system call

class TcpTransport final : public InboxTransport {
 public:
  TcpTransport(std::unique_ptr<net::Socket> socket, const MemberProcess& peer)
      : InboxTransport(peer), socket_(std::move(socket)), buffer_(kReadBufferBytes) {}

  std::string_view name() const override { return "tcp"; }
  Capabilities capabilities() const override { return {}; }

  void Quiesce(Generation generation, uint8_t channel) override;
  void Send(const Envelope& envelope, const std::byte* data, size_t bytes, Token token) override;
  void Notify(const Envelope& envelope, std::span<const std::byte> text) override;
  bool Poll(bool descriptor_ready) override;

  int descriptor() const override { return socket_->descriptor(); }
  bool wants_to_write() const override { return blocked_ && HasToWrite(); }
  bool PrepareToSleep() override { return true; }
  void Awake() override {}
  void Close() override {
    Fail(Aborted("the peer was given up"));
    socket_.reset();
  }

 private:
  // A frame on its way out: `head`, then `data`.
  struct OutFrame {
    std::array<std::byte, net::kFrameHeaderBytes + sizeof(Fingerprint)> head;
    size_t head_bytes = 0;
    const std::byte* data = nullptr;
    size_t bytes = 0;              // of data
    size_t sent = 0;               // of both
    Receiver* receiver = nullptr;  // who hears OnSent; null when nobody does
    Generation generation = 0;
    uint8_t channel = 0;
    Token token;
    std::vector<std::byte> owned;  // `data` when it isn't the caller's memory
  };

  OutFrame MakeFrame(const Envelope& envelope, size_t bytes);
  bool Flush();
  // An encrypted socket may hold back what it has taken.
  bool HasToWrite() const { return !out_.empty() || socket_->has_unsent(); }
  void NoteSent(size_t bytes);
  void FailWriting();
  bool ReadSome();
  bool ReadIntoBuffer();
  bool ReadIntoRoom();
  // Takes what can be taken from the read buffer.
  void TakeFrames();
  bool BeginFrame();
  void Fail(Status status);
  void FailReading(ssize_t result, int error);

  std::unique_ptr<net::Socket> socket_;
  std::deque<OutFrame> out_;
  bool blocked_ = false;       // the socket's buffer was full
  bool write_failed_ = false;  // nothing more goes out, but there may be something to read yet
  std::vector<char> buffer_;   // read, but not taken yet: [begin_, end_)
  size_t begin_ = 0;
  size_t end_ = 0;
};

TcpTransport::OutFrame TcpTransport::MakeFrame(const Envelope& envelope, size_t bytes) {
  net::FrameHeader header;
  header.kind = net::FrameKind::kData;
  header.flags = net::kFrameUnchecked;
  if (envelope.announces) header.flags |= kAnnounces;
  if (envelope.kind == MessageKind::kAnnounce) header.flags |= kAnnounceOnly;
  if (envelope.kind == MessageKind::kNotice) header.flags |= kNotice;
  header.generation = envelope.generation;
  header.tag = envelope.tag;
  const size_t fingerprint_bytes = envelope.announces ? sizeof(Fingerprint) : 0;
  CHECK_LE(bytes + fingerprint_bytes, net::kMaxPayload);
  header.length = static_cast<uint32_t>(bytes + fingerprint_bytes);

  OutFrame frame;
  const net::EncodedFrameHeader encoded = net::EncodeFrameHeader(header);
  std::memcpy(frame.head.data(), encoded.data(), encoded.size());
  std::memcpy(frame.head.data() + encoded.size(), &envelope.fingerprint, sizeof(Fingerprint));
  frame.head_bytes = encoded.size() + fingerprint_bytes;
  frame.bytes = bytes;
  frame.generation = envelope.generation;
  frame.channel = Tag::Decode(envelope.tag).channel;
  return frame;
}

void TcpTransport::Send(const Envelope& envelope, const std::byte* data, size_t bytes,
                        Token token) {
  if (!failure_.ok() || write_failed_) return;
  OutFrame frame = MakeFrame(envelope, bytes);
  frame.data = data;
  frame.token = token;
  frame.receiver = inbox_.FindReceiver(frame.generation, frame.channel);
  CHECK(frame.receiver != nullptr) << "a send for a generation that isn't open";
  out_.push_back(std::move(frame));
  if (!blocked_) Flush();
}

void TcpTransport::Notify(const Envelope& envelope, std::span<const std::byte> text) {
  if (!failure_.ok() || write_failed_) return;
  CHECK_LE(text.size(), kMaxNotice);
  OutFrame frame = MakeFrame(envelope, text.size());
  frame.owned.assign(text.begin(), text.end());
  frame.data = frame.owned.data();
  out_.push_back(std::move(frame));
  if (!blocked_) Flush();
}

void TcpTransport::Quiesce(Generation generation, uint8_t channel) {
  inbox_.Close(generation, channel);
  // Only the first frame can be sent in part: its rest has to follow, or the stream is torn.
  for (size_t i = 0; i < out_.size();) {
    OutFrame& frame = out_[i];
    if (frame.receiver == nullptr || frame.generation != generation || frame.channel != channel) {
      ++i;
    } else if (frame.sent == 0) {
      out_.erase(out_.begin() + static_cast<ptrdiff_t>(i));
    } else {
      frame.owned.assign(frame.data, frame.data + frame.bytes);
      frame.data = frame.owned.data();
      frame.receiver = nullptr;
      ++i;
    }
  }
}

bool TcpTransport::Flush() {
  bool moved = false;
  size_t budget = kPollBytes;
  blocked_ = false;
  while (HasToWrite() && budget > 0) {
    iovec parts[kMaxParts];
    int count = 0;
    size_t asked = 0;
    for (size_t i = 0; i < out_.size() && count + 2 <= kMaxParts && asked < budget; ++i) {
      OutFrame& frame = out_[i];
      const size_t head_sent = std::min(frame.sent, frame.head_bytes);
      if (head_sent < frame.head_bytes) {
        parts[count++] = {frame.head.data() + head_sent, frame.head_bytes - head_sent};
        asked += frame.head_bytes - head_sent;
      }
      const size_t data_sent = frame.sent - head_sent;
      if (data_sent < frame.bytes) {
        parts[count++] = {const_cast<std::byte*>(frame.data) + data_sent, frame.bytes - data_sent};
        asked += frame.bytes - data_sent;
      }
    }
    const ssize_t sent = socket_->Send({parts, static_cast<size_t>(count)}, nullptr);
    if (sent < 0) {
      if (errno == EAGAIN) {
        blocked_ = true;
      } else {
        FailWriting();
      }
      return moved;
    }
    moved = moved || sent > 0;
    budget -= std::min(budget, static_cast<size_t>(sent));
    NoteSent(static_cast<size_t>(sent));
    if (static_cast<size_t>(sent) < asked) {
      blocked_ = true;
      return true;
    }
  }
  // Out of budget: come back when the descriptor says that it can be written.
  blocked_ = HasToWrite();
  return moved;
}

void TcpTransport::NoteSent(size_t bytes) {
  while (!out_.empty()) {
    OutFrame& frame = out_.front();
    const size_t part = std::min(bytes, frame.head_bytes + frame.bytes - frame.sent);
    frame.sent += part;
    bytes -= part;
    if (frame.sent < frame.head_bytes + frame.bytes) return;
    bytes_sent_ += frame.bytes;
    if (frame.receiver != nullptr) frame.receiver->OnSent(frame.token);
    out_.pop_front();
  }
}

// The peer may have written its last words before it closed: reading goes on until its end.
void TcpTransport::FailWriting() {
  write_failed_ = true;
  out_.clear();
}

bool TcpTransport::Poll(bool descriptor_ready) {
  if (!failure_.ok() || !descriptor_ready) return false;
  bool moved = false;
  if (HasToWrite()) moved = Flush();
  size_t budget = kPollBytes;
  // What the socket has deciphered already isn't shown by its descriptor: none of it is left
  // behind.
  while ((budget > 0 || socket_->has_unread()) && failure_.ok()) {
    const uint64_t before = inbox_.bytes_received();
    if (!ReadSome()) break;
    moved = true;
    budget -= std::min<size_t>(budget, inbox_.bytes_received() - before + 1);
  }
  return moved;
}

// False when there is nothing (more) to read.
bool TcpTransport::ReadSome() { return inbox_.missing() > 0 ? ReadIntoRoom() : ReadIntoBuffer(); }

bool TcpTransport::ReadIntoBuffer() {
  if (begin_ > 0) {  // what is left is less than a header
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const iovec room{buffer_.data() + end_, buffer_.size() - end_};
  const ssize_t got = socket_->Receive({&room, 1}, nullptr);
  if (got <= 0) {
    FailReading(got, errno);
    return false;
  }
  const bool all = static_cast<size_t>(got) == buffer_.size() - end_;
  end_ += static_cast<size_t>(got);
  TakeFrames();
  // A large message has just begun: its rest is likely to be there too.
  return all || inbox_.missing() > 0;
}

bool TcpTransport::ReadIntoRoom() {
  const std::span<std::byte> room = inbox_.Room();
  const bool to_end = room.size() == inbox_.missing();
  iovec parts[2] = {{room.data(), room.size()}, {buffer_.data(), buffer_.size()}};
  const ssize_t got = socket_->Receive({parts, to_end ? 2u : 1u}, nullptr);
  if (got <= 0) {
    FailReading(got, errno);
    return false;
  }
  const size_t placed = std::min(static_cast<size_t>(got), room.size());
  begin_ = 0;
  end_ = static_cast<size_t>(got) - placed;
  inbox_.Filled(placed);
  TakeFrames();
  return static_cast<size_t>(got) >= room.size();
}

void TcpTransport::TakeFrames() {
  while (failure_.ok() && begin_ < end_) {
    if (inbox_.missing() > 0) {
      const size_t part = std::min(inbox_.missing(), end_ - begin_);
      inbox_.Deliver({reinterpret_cast<const std::byte*>(buffer_.data()) + begin_, part});
      begin_ += part;
    } else if (!BeginFrame()) {
      return;
    }
  }
  if (begin_ == end_) begin_ = end_ = 0;
}

// False when the buffer has no whole header.
bool TcpTransport::BeginFrame() {
  if (end_ - begin_ < net::kFrameHeaderBytes) return false;
  Result<net::FrameHeader> header =
      net::ParseFrameHeader({buffer_.data() + begin_, net::kFrameHeaderBytes});
  if (!header.ok()) {
    Fail(header.status());
    return false;
  }
  Envelope envelope;
  envelope.announces = (header->flags & kAnnounces) != 0;
  envelope.generation = header->generation;
  envelope.tag = header->tag;
  if (header->flags & kAnnounceOnly) envelope.kind = MessageKind::kAnnounce;
  if (header->flags & kNotice) envelope.kind = MessageKind::kNotice;
  const size_t fingerprint_bytes = envelope.announces ? sizeof(Fingerprint) : 0;
  if (header->kind != net::FrameKind::kData || !(header->flags & net::kFrameUnchecked) ||
      header->length < fingerprint_bytes) {
    Fail(Mismatch("a frame that doesn't belong on a transport: " +
                  std::string(net::FrameKindName(header->kind))));
    return false;
  }
  if (end_ - begin_ < net::kFrameHeaderBytes + fingerprint_bytes) return false;
  begin_ += net::kFrameHeaderBytes;
  if (envelope.announces) {
    std::memcpy(&envelope.fingerprint, buffer_.data() + begin_, sizeof(Fingerprint));
    begin_ += sizeof(Fingerprint);
  }
  inbox_.Begin(envelope, header->length - fingerprint_bytes);
  return true;
}

void TcpTransport::FailReading(ssize_t result, int error) {
  if (result == 0) {
    Fail(PeerLost(inbox_.missing() > 0 ? "connection closed in the middle of a message"
                                       : "connection closed by the peer"));
  } else if (error != EAGAIN) {
    Fail(PeerLost(std::string("connection broken: ") + std::strerror(error)));
  }
}

void TcpTransport::Fail(Status status) {
  failure_ = std::move(status);
  out_.clear();
}

}  // namespace

std::unique_ptr<Transport> MakeTcpTransport(std::unique_ptr<net::Socket> socket,
                                            const MemberProcess& peer) {
  return std::make_unique<TcpTransport>(std::move(socket), peer);
}

}  // namespace closeranks::collectives
