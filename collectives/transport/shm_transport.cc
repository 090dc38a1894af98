#include "collectives/transport/shm_transport.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "collectives/transport/inbox_transport.h"
#include "collectives/transport/shm_memory.h"
#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

// At most so many slots each way in one Poll, so that whoever waits for the engine's lock gets it
// soon.
constexpr int kPollSlots = 32;

class ShmTransport final : public InboxTransport {
 public:
  ShmTransport(UniqueFd socket, const MemberProcess& peer, ShmMapping own)
      : InboxTransport(peer), socket_(std::move(socket)), own_(std::move(own)) {}

  std::string_view name() const override { return "shm"; }
  Capabilities capabilities() const override { return {.polls_memory = true}; }

  void Quiesce(Generation generation, uint8_t channel) override;
  void Send(const Envelope& envelope, const std::byte* data, size_t bytes, Token token) override;
  void Notify(const Envelope& envelope, std::span<const std::byte> text) override;
  bool Poll(bool descriptor_ready) override;

  int descriptor() const override { return socket_.get(); }
  void Close() override {
    Fail(Aborted("the peer was given up"));
    socket_.Reset();
  }
  bool wants_to_write() const override { return false; }
  bool PrepareToSleep() override;
  void Awake() override;

 private:
  struct OutMessage {
    Envelope envelope;
    const std::byte* data = nullptr;
    size_t bytes = 0;
    size_t written = 0;  // into slots
    bool begun = false;
    Receiver* receiver = nullptr;  // who hears OnSent; null when nobody does
    Token token;
    std::vector<std::byte> owned;  // `data` when it isn't the caller's memory
  };

  bool HasRoom() const { return published_ - PeersConsumed() < own_.geometry().slots; }
  uint64_t PeersConsumed() const {
    return peers_ ? peers_.words().consumed.load(std::memory_order_acquire) : 0;
  }
  bool IsPublished(uint64_t n) const {
    return peers_.slot(n).number.load(std::memory_order_acquire) == n + 1;
  }
  static Envelope EnvelopeOf(const ShmSlot& slot);
  // Whether Poll would take the next slot of the peer's.
  bool HasWork() const;
  bool WriteSlots();
  void WriteSlot(OutMessage& message);
  bool ReadSlots();
  bool ReadSlot();
  bool ReadSocket();
  void WakePeer(bool for_message);
  void Fail(Status status);

  UniqueFd socket_;
  ShmMapping own_;
  ShmMapping peers_;  // none until the peer has passed it
  std::deque<OutMessage> out_;
  uint64_t published_ = 0;  // slots that we wrote
  uint64_t consumed_ = 0;   // of the peer's slots, those that we read
  uint64_t sleeps_ = 0;     // how often we slept; counts by 4
  uint64_t woken_ = 0;      // the peer's last sleep that we ended
  bool peer_closed_ = false;
};

void ShmTransport::Send(const Envelope& envelope, const std::byte* data, size_t bytes,
                        Token token) {
  if (!failure_.ok()) return;
  OutMessage message;
  message.envelope = envelope;
  message.data = data;
  message.bytes = bytes;
  message.token = token;
  message.receiver = inbox_.FindReceiver(envelope.generation, Tag::Decode(envelope.tag).channel);
  CHECK(message.receiver != nullptr) << "a send for a generation that isn't open";
  out_.push_back(std::move(message));
  if (WriteSlots()) WakePeer(/*for_message=*/true);
}

void ShmTransport::Notify(const Envelope& envelope, std::span<const std::byte> text) {
  if (!failure_.ok()) return;
  CHECK_LE(text.size(), kMaxNotice);
  OutMessage message;
  message.envelope = envelope;
  message.owned.assign(text.begin(), text.end());
  message.data = message.owned.data();
  message.bytes = text.size();
  out_.push_back(std::move(message));
  if (WriteSlots()) WakePeer(/*for_message=*/true);
}

// What is in slots is a copy. A message that is in slots in part needs no rest: the next one ends
// it.
void ShmTransport::Quiesce(Generation generation, uint8_t channel) {
  inbox_.Close(generation, channel);
  std::erase_if(out_, [&](const OutMessage& message) {
    return message.receiver != nullptr && message.envelope.generation == generation &&
           Tag::Decode(message.envelope.tag).channel == channel;
  });
}

bool ShmTransport::WriteSlots() {
  bool moved = false;
  for (int i = 0; i < kPollSlots && !out_.empty() && HasRoom(); ++i) {
    OutMessage& message = out_.front();
    WriteSlot(message);
    moved = true;
    if (message.written < message.bytes) continue;
    bytes_sent_ += message.bytes;
    if (message.receiver != nullptr) message.receiver->OnSent(message.token);
    out_.pop_front();
  }
  return moved;
}

void ShmTransport::WriteSlot(OutMessage& message) {
  ShmSlot& slot = own_.slot(published_);
  const size_t bytes =
      std::min<size_t>(own_.geometry().slot_bytes, message.bytes - message.written);
  slot.generation = message.envelope.generation;
  slot.tag = message.envelope.tag;
  slot.fingerprint = message.envelope.fingerprint;
  slot.message_bytes = message.bytes;
  slot.offset = message.written;
  slot.bytes = static_cast<uint32_t>(bytes);
  slot.kind = message.envelope.kind;
  slot.announces = message.envelope.announces;
  if (bytes > 0) std::memcpy(slot.payload(), message.data + message.written, bytes);
  ++published_;
  slot.number.store(published_, std::memory_order_release);
  message.written += bytes;
}

Envelope ShmTransport::EnvelopeOf(const ShmSlot& slot) {
  Envelope envelope;
  envelope.kind = slot.kind;
  envelope.announces = slot.announces;
  envelope.generation = slot.generation;
  envelope.tag = slot.tag;
  envelope.fingerprint = slot.fingerprint;
  return envelope;
}

bool ShmTransport::HasWork() const {
  if (!out_.empty() && HasRoom()) return true;
  if (!peers_ || !IsPublished(consumed_)) return false;
  const ShmSlot& slot = peers_.slot(consumed_);
  // A message that nobody asks for yet stays in its slot, where it can be added from later, unless
  // another one waits behind it.
  return slot.offset > 0 || !inbox_.WouldHold(EnvelopeOf(slot)) || IsPublished(consumed_ + 1) ||
         slot.bytes < slot.message_bytes;
}

bool ShmTransport::ReadSlots() {
  bool moved = false;
  for (int i = 0; i < kPollSlots && failure_.ok() && ReadSlot(); ++i) moved = true;
  if (moved) own_.words().consumed.store(consumed_, std::memory_order_release);
  return moved;
}

// False when there is none to read.
bool ShmTransport::ReadSlot() {
  if (!peers_ || !IsPublished(consumed_)) return false;
  const ShmSlot& slot = peers_.slot(consumed_);
  const Envelope envelope = EnvelopeOf(slot);
  const uint64_t offset = slot.offset;
  const uint64_t message_bytes = slot.message_bytes;
  const size_t bytes = slot.bytes;
  if (bytes > peers_.geometry().slot_bytes || offset + bytes > message_bytes) {
    Fail(Mismatch("a slot of the peer's shared memory makes no sense"));
    return false;
  }
  if (offset == 0) {
    if (inbox_.WouldHold(envelope) && bytes == message_bytes && !IsPublished(consumed_ + 1)) {
      return false;
    }
    inbox_.CancelArrival();
    inbox_.Begin(envelope, message_bytes);
  } else if (inbox_.missing() != message_bytes - offset) {
    Fail(Mismatch("a piece of a message in the peer's shared memory is out of place"));
    return false;
  }
  if (bytes > 0) inbox_.Deliver({slot.payload(), bytes});
  // The owner must not have touched it meanwhile.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (slot.number.load(std::memory_order_relaxed) != consumed_ + 1 ||
      slot.generation != envelope.generation) {
    Fail(Mismatch("the peer overwrote shared memory that was being read"));
    return false;
  }
  ++consumed_;
  return true;
}

// The peer's memory first, then bytes that only wake us, then the end.
bool ShmTransport::ReadSocket() {
  bool moved = false;
  if (!peers_) {
    ShmGeometry geometry;
    UniqueFd file;
    Status status = ReceiveShmFile(socket_.get(), &geometry, &file);
    if (status.code() == StatusCode::kUnavailable) return false;
    if (status.ok()) {
      Result<ShmMapping> mapping = ShmMapping::MapPeers(geometry, file);
      status = mapping.status();
      if (mapping.ok()) peers_ = std::move(mapping).value();
    }
    if (!status.ok()) {
      Fail(std::move(status));
      return true;
    }
    moved = true;
  }
  char bells[64];
  while (true) {
    const ssize_t got = recv(socket_.get(), bells, sizeof(bells), MSG_DONTWAIT);
    if (got == static_cast<ssize_t>(sizeof(bells))) continue;
    if (got > 0) return moved;
    if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
      peer_closed_ = true;
      return true;
    }
    return moved;
  }
}

bool ShmTransport::Poll(bool descriptor_ready) {
  if (!failure_.ok()) return false;
  bool moved = descriptor_ready && ReadSocket();
  const bool read = ReadSlots();
  const bool written = WriteSlots();
  if (read || written) WakePeer(written);
  moved |= read || written;
  // What the peer said before it went has been heard.
  if (peer_closed_ && !read && failure_.ok())
    Fail(PeerLost("the peer's process closed its socket"));
  return moved;
}

// To be called after slots were written (for_message) or read: the fence orders that before the
// look at whether the peer sleeps, and PrepareToSleep does it the other way round, so one of the
// two sees the other.
void ShmTransport::WakePeer(bool for_message) {
  if (peers_) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const uint64_t sleep = peers_.words().sleep.load(std::memory_order_relaxed);
    if ((sleep & (for_message ? kShmAsleep : kShmWantsSpace)) == 0 || sleep == woken_) return;
    woken_ = sleep;
  }
  const char bell = 'b';
  // A full socket has enough to wake the peer; a closed one shows when it is read.
  (void)!send(socket_.get(), &bell, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool ShmTransport::PrepareToSleep() {
  sleeps_ += 4;
  const uint64_t wants = out_.empty() ? 0 : kShmWantsSpace;
  own_.words().sleep.store(sleeps_ | kShmAsleep | wants, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!HasWork()) return true;
  Awake();
  return false;
}

void ShmTransport::Awake() { own_.words().sleep.store(sleeps_, std::memory_order_relaxed); }

void ShmTransport::Fail(Status status) {
  failure_ = std::move(status);
  out_.clear();
}

}  // namespace

Result<std::unique_ptr<Transport>> MakeShmTransport(UniqueFd socket, const MemberProcess& peer,
                                                    const ShmTransportOptions& options) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0) {
    return ErrnoStatus(errno, "a transport's socket");
  }
  const ShmGeometry geometry{static_cast<uint32_t>(options.slot_bytes),
                             static_cast<uint32_t>(options.slots)};
  UniqueFd file;
  ASSIGN_OR_RETURN(ShmMapping own, ShmMapping::Make(geometry, &file));
  RETURN_IF_ERROR(SendShmFile(socket.get(), geometry, file));
  return std::unique_ptr<Transport>(
      std::make_unique<ShmTransport>(std::move(socket), peer, std::move(own)));
}

}  // namespace closeranks::collectives
