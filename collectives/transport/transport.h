// Moves messages between this process and one other: the seam below the engine.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_TRANSPORT_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_TRANSPORT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/member.h"
#include "base/status.h"

namespace closeranks::collectives {

// What a message belongs to: bits 63-56 the channel (one communicator of a generation), 55-20 the
// op sequence, 19-0 the how-manieth message of the operation between these two ranks in this
// direction.
struct Tag {
  uint8_t channel = 0;
  uint64_t sequence = 0;
  uint32_t message = 0;

  static constexpr uint64_t kMaxSequence = (uint64_t{1} << 36) - 1;
  static constexpr uint32_t kMaxMessage = (1u << 20) - 1;

  uint64_t Encode() const { return uint64_t{channel} << 56 | sequence << 20 | message; }
  static Tag Decode(uint64_t bits) {
    return {static_cast<uint8_t>(bits >> 56), bits >> 20 & kMaxSequence,
            static_cast<uint32_t>(bits & kMaxMessage)};
  }
};

// 16 bytes that say what an operation is; transports only carry them.
using Fingerprint = std::array<uint64_t, 2>;

enum class MessageKind : uint8_t {
  kData,      // for a receive with the same tag
  kAnnounce,  // no payload: tells only that the sender has begun the operation
  kNotice,    // a few bytes for the receiver itself, not for a receive
};

struct Envelope {
  MessageKind kind = MessageKind::kData;
  // The sender's first message of this operation to this peer: `fingerprint` is there.
  bool announces = false;
  Generation generation = 0;
  uint64_t tag = 0;
  Fingerprint fingerprint{};
};

enum class MemoryKind : uint8_t { kHost, kCuda };

// Memory that a transport knows: what a peer needs to name it in Put, Get and View. 0 means none.
struct MemoryHandle {
  uint64_t id = 0;
  size_t bytes = 0;
};

// A transport lives as long as its connection, across generations: survivors keep theirs. Each
// message carries its generation and channel; what came for one that
//   - was ended here (Quiesce) or is older than the newest begun here, is dropped and counted;
//   - wasn't begun here yet, is held back until it is;
//   - is open, goes to its receives, or is held back until there is one.
//
// Threads: none of its own, and one caller at a time (the engine calls it under its lock).
//
// Memory: a transport reads a send's memory until OnSent and writes a receive's until OnReceived
// (or the last OnPiece), or until Quiesce of its generation and channel has returned, whichever
// comes first.
class Transport {
 public:
  // Comes back with a completion; the caller's to interpret.
  struct Token {
    void* operation = nullptr;
    uint64_t step = 0;
  };

  // Who hears of the messages of one generation and channel. Called from within Send, Recv,
  // RecvPieces, Open and Poll; must not call the transport.
  class Receiver {
   public:
    virtual void OnSent(Token token) = 0;
    virtual void OnReceived(Token token) = 0;
    // A part of a message for RecvPieces, in the transport's or the peer's memory, valid only
    // during the call. `offset` is a multiple of 64, and so is the size except of the last part.
    // The message is done when all of its bytes were handed over.
    virtual void OnPiece(Token token, size_t offset, std::span<const std::byte> piece) = 0;
    // The peer has begun an operation. Comes before any of its data is delivered.
    virtual void OnAnnounced(uint64_t tag, const Fingerprint& fingerprint) = 0;
    virtual void OnNotice(uint64_t tag, std::span<const std::byte> notice) = 0;
    // A message came that breaks the rules of this generation and channel.
    virtual void OnBroken(const Status& why) = 0;

   protected:
    ~Receiver() = default;
  };

  struct Capabilities {
    bool polls_memory = false;  // Poll finds messages without its descriptor being ready
    bool one_sided = false;     // Put and Get (none yet)
    bool views = false;         // View may give a pointer
  };

  struct Counters {
    uint64_t bytes_sent = 0;  // of payload
    uint64_t bytes_received = 0;
    uint64_t messages_dropped = 0;  // of generations that are over
    uint64_t bytes_held = 0;        // held back now
  };

  virtual ~Transport() = default;

  // The process on the other side.
  virtual const MemberProcess& peer() const = 0;
  virtual std::string_view name() const = 0;  // "tcp"
  virtual Capabilities capabilities() const = 0;
  virtual Counters counters() const = 0;

  // Makes memory known, so that the peer may name it. Memory that isn't registered can be sent from
  // and received into just as well. kInvalidArgument for a kind of memory that this transport can't
  // reach.
  virtual Result<MemoryHandle> Register(void* buffer, size_t bytes, MemoryKind kind,
                                        int device) = 0;
  virtual void Unregister(MemoryHandle handle) = 0;
  // Where the peer's memory is in this process, or null.
  virtual const std::byte* View(MemoryHandle peers) = 0;

  // Begins a generation and channel. What is held back for it is delivered; older generations are
  // over. kStaleGeneration when a newer generation was begun or this one and channel was ended.
  // `receiver` must live until Quiesce.
  virtual Status Open(Generation generation, uint8_t channel, Receiver* receiver) = 0;

  // Ends a generation and channel, now, and waits for nobody: when it has returned, `receiver`
  // isn't called any more and memory of its sends and receives isn't touched any more, although the
  // stream stays intact: what is half sent is copied aside and finished later, what is half
  // received is discarded. Harmless when it isn't open.
  virtual void Quiesce(Generation generation, uint8_t channel) = 0;

  // The generation and channel (of the tag) must be open. After a failure they do nothing. `bytes`
  // may be 0.
  virtual void Send(const Envelope& envelope, const std::byte* data, size_t bytes, Token token) = 0;
  virtual void Recv(Generation generation, uint64_t tag, std::byte* to, size_t bytes,
                    Token token) = 0;
  // As Recv, but hands the message over where it lies: see OnPiece.
  virtual void RecvPieces(Generation generation, uint64_t tag, size_t bytes, Token token) = 0;
  // A kAnnounce or kNotice: `text` (at most kMaxNotice bytes) is copied and goes out even if its
  // generation is ended meanwhile. No completion.
  virtual void Notify(const Envelope& envelope, std::span<const std::byte> text) = 0;
  static constexpr size_t kMaxNotice = 64;  // bytes

  // Moves what can be moved without blocking, up to some amount. True when something moved. False
  // for `descriptor_ready` leaves out what would need a system call to find out.
  virtual bool Poll(bool descriptor_ready) = 0;

  // To wait for: ready for reading (or, while wants_to_write(), for writing) means that Poll(true)
  // has something to do. -1: none, Poll must be called by who knows when (simulation).
  virtual int descriptor() const = 0;
  virtual bool wants_to_write() const = 0;
  // Before blocking on the descriptor: from now on it becomes ready for whatever the peer does.
  // False when there is something to do already. Awake ends it. Only with polls_memory.
  virtual bool PrepareToSleep() = 0;
  virtual void Awake() = 0;

  // Ends the connection here and now, for who gives the peer up: the peer sees its end. Once it is
  // no longer polled; what is still done with it does nothing.
  virtual void Close() = 0;

  // Ok, or how it failed: kPeerLost (the other side is gone), kMismatch (it speaks otherwise), ...
  // For good. What had come before the failure is delivered before it is reported.
  virtual Status failure() const = 0;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_TRANSPORT_H_
