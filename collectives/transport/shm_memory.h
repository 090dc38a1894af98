// The memory file that a process shares with one peer: its layout, making it, passing it over a
// socket.
#ifndef CLOSERANKS_COLLECTIVES_TRANSPORT_SHM_MEMORY_H_
#define CLOSERANKS_COLLECTIVES_TRANSPORT_SHM_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

// The first page. Written by its owner, read by the peer; each word has a cache line of its own.
struct ShmWords {
  // How many of the peer's slots the owner has read: the peer may use those again.
  alignas(64) std::atomic<uint64_t> consumed;
  // Counts by 4 with each sleep, with these bits.
  alignas(64) std::atomic<uint64_t> sleep;
};
inline constexpr uint64_t kShmAsleep = 1;      // wake the owner for each message
inline constexpr uint64_t kShmWantsSpace = 2;  // and when slots of it have been read

// A piece of a message.
struct ShmSlot {
  // Its number in the stream of all pieces, from 1 on: written last, so that who sees it sees the
  // rest.
  std::atomic<uint64_t> number;
  Generation generation;
  uint64_t tag;
  Fingerprint fingerprint;
  uint64_t message_bytes;
  uint64_t offset;  // of this piece in its message; 0 begins one, and ends one that wasn't complete
  uint32_t bytes;
  MessageKind kind;
  bool announces;

  std::byte* payload() { return reinterpret_cast<std::byte*>(this) + kHeaderBytes; }
  const std::byte* payload() const {
    return reinterpret_cast<const std::byte*>(this) + kHeaderBytes;
  }
  static constexpr size_t kHeaderBytes = 64;
};
static_assert(sizeof(ShmSlot) == ShmSlot::kHeaderBytes);
static_assert(std::atomic<uint64_t>::is_always_lock_free, "other processes take part");

struct ShmGeometry {
  uint32_t slot_bytes = 0;  // of payload
  uint32_t slots = 0;
  static constexpr size_t kWordsBytes = 4096;

  size_t stride() const { return ShmSlot::kHeaderBytes + slot_bytes; }
  size_t file_bytes() const { return kWordsBytes + stride() * slots; }
  bool IsSane() const;
};

// A mapped memory file. Unmaps it at its end. Movable.
class ShmMapping {
 public:
  ShmMapping() = default;
  ShmMapping(ShmMapping&& other) noexcept { *this = std::move(other); }
  ShmMapping& operator=(ShmMapping&& other) noexcept;
  ~ShmMapping();

  // Makes a file, all of whose pages are there, seals it and maps it for writing. `*file` is for
  // sending. kResourceExhausted when there is no memory for it.
  static Result<ShmMapping> Make(const ShmGeometry& geometry, UniqueFd* file);
  // Maps a peer's file for reading. kMismatch when it isn't sealed, or not as large as its
  // geometry.
  static Result<ShmMapping> MapPeers(const ShmGeometry& geometry, const UniqueFd& file);

  explicit operator bool() const { return base_ != nullptr; }
  const ShmGeometry& geometry() const { return geometry_; }
  ShmWords& words() const { return *reinterpret_cast<ShmWords*>(base_); }
  // The slot of the n-th piece, from 0 on. A peer's slots and words can only be read.
  ShmSlot& slot(uint64_t n) const {
    return *reinterpret_cast<ShmSlot*>(base_ + ShmGeometry::kWordsBytes +
                                       (n & (geometry_.slots - 1)) * geometry_.stride());
  }

 private:
  std::byte* base_ = nullptr;
  ShmGeometry geometry_;
};

// Sends geometry and file in the first message on a socket. kPeerLost when the peer has closed it.
Status SendShmFile(int socket, const ShmGeometry& geometry, const UniqueFd& file);
// Takes that message; kUnavailable when it isn't there yet. The socket must be nonblocking.
Status ReceiveShmFile(int socket, ShmGeometry* geometry, UniqueFd* file);

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_TRANSPORT_SHM_MEMORY_H_
