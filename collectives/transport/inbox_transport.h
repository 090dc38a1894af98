// What transports have in common whose messages come in through an Inbox: all but how bytes move.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_INBOX_TRANSPORT_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_INBOX_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/member.h"
#include "base/status.h"
#include "collectives/transport/inbox.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

class InboxTransport : public Transport {
 public:
  const MemberProcess& peer() const final { return peer_; }
  Counters counters() const final {
    return {bytes_sent_, inbox_.bytes_received(), inbox_.dropped(), inbox_.bytes_held()};
  }

  // The peer can't reach memory of the caller's own: nothing to do, and no view.
  Result<MemoryHandle> Register(void* buffer, size_t bytes, MemoryKind kind, int) final {
    if (kind != MemoryKind::kHost) {
      return InvalidArgument(std::string(name()) + " reaches host memory only");
    }
    return MemoryHandle{reinterpret_cast<uint64_t>(buffer), bytes};
  }
  void Unregister(MemoryHandle) final {}
  const std::byte* View(MemoryHandle) final { return nullptr; }

  Status Open(Generation generation, uint8_t channel, Receiver* receiver) final {
    return inbox_.Open(generation, channel, receiver);
  }
  void Recv(Generation generation, uint64_t tag, std::byte* to, size_t bytes, Token token) final {
    inbox_.Post(generation, tag, to, bytes, token);
  }
  void RecvPieces(Generation generation, uint64_t tag, size_t bytes, Token token) final {
    inbox_.Post(generation, tag, nullptr, bytes, token);
  }
  Status failure() const final { return failure_; }

 protected:
  explicit InboxTransport(const MemberProcess& peer) : peer_(peer) {}

  Inbox inbox_;
  uint64_t bytes_sent_ = 0;
  Status failure_;

 private:
  const MemberProcess peer_;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_INBOX_TRANSPORT_H_
