// The receiving half that all message transports share: which message goes where, what is held
// back, what is dropped. Knows no descriptors.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_INBOX_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_INBOX_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/member.h"
#include "base/status.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

// Messages of one peer arrive one after the other: Begin, then bytes by Room and Filled (bytes that
// are written straight to where they belong) or by Deliver (bytes that lie somewhere else), until
// all are there. Same threading rules as Transport.
class Inbox {
 public:
  using Receiver = Transport::Receiver;
  using Token = Transport::Token;

  Inbox() = default;
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // See Transport.
  Status Open(Generation generation, uint8_t channel, Receiver* receiver);
  void Close(Generation generation, uint8_t channel);
  // A receive; `to` is null for RecvPieces.
  void Post(Generation generation, uint64_t tag, std::byte* to, size_t bytes, Token token);
  // Null when it isn't open.
  Receiver* FindReceiver(Generation generation, uint8_t channel);

  // True when a message like this would be copied aside, because nobody asks for it yet.
  bool WouldHold(const Envelope& envelope) const;
  // A message of `bytes` bytes begins; the one before must be complete. One without bytes is
  // complete at once.
  void Begin(const Envelope& envelope, size_t bytes);
  // How many bytes the arriving message lacks; 0 when none is arriving.
  size_t missing() const { return arrival_.bytes - arrival_.done; }
  // Where the next bytes may be written; not empty while some are missing.
  std::span<std::byte> Room();
  // That many bytes, at most Room()'s size, were written there.
  void Filled(size_t bytes);
  // The next bytes, at most missing(). Handed over where they lie when that is possible.
  void Deliver(std::span<const std::byte> bytes);
  // The sender gave the arriving message up.
  void CancelArrival();

  // How many messages were dropped because their generation was over.
  uint64_t dropped() const { return dropped_; }
  uint64_t bytes_held() const { return bytes_held_; }
  uint64_t bytes_received() const { return bytes_received_; }

 private:
  using ChannelKey = std::pair<Generation, uint8_t>;
  using MessageKey = std::pair<Generation, uint64_t>;  // generation and tag

  struct Posted {
    std::byte* to = nullptr;
    size_t bytes = 0;
    Token token;
  };
  struct Channel {
    ChannelKey key;
    Receiver* receiver = nullptr;
    std::unordered_map<uint64_t, Posted> posted;  // by tag
  };
  // A message that came before its receive.
  struct Held {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes = 0;
    bool complete = false;
    std::optional<Posted> wanted;  // by a receive that came while it was arriving
  };
  // What a receiver that isn't there yet will have to hear.
  struct Early {
    Envelope envelope;
    std::vector<std::byte> notice;
  };
  enum class Where : uint8_t { kBuffer, kPieces, kHeld, kNotice, kDiscard };
  struct Arrival {
    Envelope envelope;
    size_t bytes = 0;
    size_t done = 0;
    size_t staged = 0;  // kPieces, kNotice: of `done`, still in staging_
    Where where = Where::kDiscard;
    Receiver* receiver = nullptr;
    Posted posted;
    Held* held = nullptr;
  };

  static ChannelKey KeyOf(const Envelope& envelope) {
    return {envelope.generation, Tag::Decode(envelope.tag).channel};
  }
  const Channel* FindChannel(ChannelKey key) const;
  Channel* FindChannel(ChannelKey key);
  bool IsOver(ChannelKey key) const { return key.first < floor_ || ended_.contains(key); }
  void BeginData(Channel* channel);
  void HandOver(Receiver* receiver, const Posted& posted, const Held& held);
  void Complete();
  void FlushPieces();
  std::byte* staging();

  std::vector<Channel> channels_;
  Generation floor_ = 0;  // the newest that was opened
  std::set<ChannelKey> ended_;
  std::map<MessageKey, Held> held_;
  std::map<ChannelKey, std::vector<Early>> early_;
  Arrival arrival_;
  std::vector<std::byte> staging_memory_;  // made at the first use
  uint64_t dropped_ = 0;
  uint64_t bytes_held_ = 0;
  uint64_t bytes_received_ = 0;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_INBOX_H_
