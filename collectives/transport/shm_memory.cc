#include "collectives/transport/shm_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>

namespace closeranks::collectives {
namespace {

// The first bytes on the socket.
struct Hello {
  uint32_t magic = kMagic;
  uint32_t version = kVersion;
  ShmGeometry geometry;
  static constexpr uint32_t kMagic = 0x4d485243;  // "CRHM" in memory
  static constexpr uint32_t kVersion = 1;         // of the layout
};
static_assert(sizeof(Hello) == 16);

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

union ControlBuffer {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

bool ShmGeometry::IsSane() const {
  return std::has_single_bit(slots) && slots <= (1u << 16) && slot_bytes >= 64 &&
         slot_bytes % 64 == 0 && slot_bytes <= (64u << 20);
}

ShmMapping& ShmMapping::operator=(ShmMapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(geometry_, other.geometry_);
  return *this;
}

ShmMapping::~ShmMapping() {
  if (base_ != nullptr) munmap(base_, geometry_.file_bytes());
}

Result<ShmMapping> ShmMapping::Make(const ShmGeometry& geometry, UniqueFd* file) {
  if (!geometry.IsSane()) return InvalidArgument("slots of shared memory must be a power of two");
  file->Reset(memfd_create("closeranks", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!*file) return ErrnoStatus(errno, "memfd_create");
  const auto bytes = static_cast<off_t>(geometry.file_bytes());
  // Takes the pages now: a process that is out of memory must hear it here, not by SIGBUS later.
  if (const int error = posix_fallocate(file->get(), 0, bytes); error != 0) {
    return ResourceExhausted("no " + std::to_string(bytes) +
                             " bytes of shared memory: " + std::strerror(error));
  }
  if (fcntl(file->get(), F_ADD_SEALS, kSeals) != 0) return ErrnoStatus(errno, "sealing a memfd");
  void* base = mmap(nullptr, geometry.file_bytes(), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, file->get(), 0);
  if (base == MAP_FAILED) return ErrnoStatus(errno, "mapping shared memory");
  ShmMapping mapping;
  mapping.base_ = static_cast<std::byte*>(base);
  mapping.geometry_ = geometry;
  new (base) ShmWords{};
  for (uint32_t i = 0; i < geometry.slots; ++i) new (&mapping.slot(i)) ShmSlot{};
  return mapping;
}

Result<ShmMapping> ShmMapping::MapPeers(const ShmGeometry& geometry, const UniqueFd& file) {
  if (!geometry.IsSane()) return Mismatch("the peer's shared memory has an impossible geometry");
  const int seals = fcntl(file.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return Mismatch("the peer's shared memory isn't sealed against shrinking");
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0 || info.st_size != static_cast<off_t>(geometry.file_bytes())) {
    return Mismatch("the peer's shared memory has " + std::to_string(info.st_size) +
                    " bytes, expected " + std::to_string(geometry.file_bytes()));
  }
  void* base =
      mmap(nullptr, geometry.file_bytes(), PROT_READ, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (base == MAP_FAILED) return ErrnoStatus(errno, "mapping the peer's shared memory");
  ShmMapping mapping;
  mapping.base_ = static_cast<std::byte*>(base);
  mapping.geometry_ = geometry;
  return mapping;
}

Status SendShmFile(int socket, const ShmGeometry& geometry, const UniqueFd& file) {
  Hello hello;
  hello.geometry = geometry;
  iovec part{&hello, sizeof(hello)};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = file.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(sizeof(hello))) return OkStatus();
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
    return PeerLost("the peer closed its socket before shared memory was exchanged");
  }
  return sent < 0 ? ErrnoStatus(errno, "passing shared memory")
                  : Internal("a new socket had no room for 16 bytes");
}

Status ReceiveShmFile(int socket, ShmGeometry* geometry, UniqueFd* file) {
  Hello hello;
  iovec part{&hello, sizeof(hello)};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Unavailable("not yet");
    return PeerLost(std::string("socket broken: ") + std::strerror(errno));
  }
  if (got == 0) return PeerLost("the peer closed its socket before shared memory was exchanged");
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    file->Reset(fd);
  }
  // The sender wrote it at once, on an empty socket: it doesn't come in parts.
  if (got != static_cast<ssize_t>(sizeof(hello)) || hello.magic != Hello::kMagic ||
      hello.version != Hello::kVersion || !*file) {
    return Mismatch("what came over the socket isn't our shared memory of version " +
                    std::to_string(Hello::kVersion));
  }
  *geometry = hello.geometry;
  return OkStatus();
}

}  // namespace closeranks::collectives
