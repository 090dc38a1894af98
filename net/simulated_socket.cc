#include "net/simulated_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

// A call moves less than it could, once in so many.
constexpr uint64_t kShortOnceIn = 4;

ssize_t Fails(int error_number) {
  errno = error_number;
  return -1;
}

}  // namespace

SimulatedSocket::SimulatedSocket(SimulatedFabric& fabric, SimulatedProcess& process,
                                 std::shared_ptr<SimulatedFabric::Connection> connection, int side)
    : fabric_(fabric),
      process_(&process),
      connection_(std::move(connection)),
      side_(side),
      descriptor_(fabric.next_descriptor_++) {
  connection_->ends[side_] = this;
  fabric_.sockets_[descriptor_] = this;
}

SimulatedSocket::~SimulatedSocket() {
  fabric_.sockets_.erase(descriptor_);
  if (!IsDead()) {
    const SimulatedFabric::Stream& theirs = connection_->streams[1 - side_];
    fabric_.CloseEnd(*connection_, side_, !inbox_.empty() || !theirs.items.empty(), finished_);
  }
  fabric_.ForgetEnd(*connection_, side_);
}

bool SimulatedSocket::IsDead() const {
  return process_ != nullptr && process_->state() == SimulatedProcess::State::kDead;
}

size_t SimulatedSocket::Room() const {
  const SimulatedFabric::Stream& stream = connection_->streams[side_];
  // A full buffer takes more once a third of it is free, so that pieces don't become ever smaller.
  const size_t free = connection_->capacity - std::min(stream.bytes, connection_->capacity);
  return free >= connection_->capacity / 3 ? free : 0;
}

Ready SimulatedSocket::readiness() const {
  const bool is_over = was_reset_ || (peer_finished_ && finished_);
  return {.readable = !inbox_.empty() || peer_finished_ || was_reset_,
          .writable = was_reset_ || Room() > 0,
          .hung_up = is_over};
}

ssize_t SimulatedSocket::Receive(std::span<const iovec> parts,
                                 std::vector<std::unique_ptr<Socket>>* passed) {
  if (IsDead()) return Fails(EAGAIN);
  if (inbox_.empty()) {
    if (was_reset_ && !std::exchange(reset_told_, true)) return Fails(ECONNRESET);
    return was_reset_ || peer_finished_ ? 0 : Fails(EAGAIN);
  }
  size_t wanted = 0;
  for (const iovec& part : parts) wanted += part.iov_len;
  Random& random = fabric_.world().random();
  if (wanted > 1 && random.OneIn(kShortOnceIn)) wanted = 1 + random.Below(wanted);
  if (std::unique_ptr<SimulatedSocket> came = std::move(inbox_.front().passed)) {
    came->process_ = process_;
    if (passed != nullptr) passed->push_back(std::move(came));
  }
  size_t received = 0;
  for (const iovec& part : parts) {
    size_t filled = 0;
    while (filled < part.iov_len && received < wanted && !inbox_.empty()) {
      Arrived& first = inbox_.front();
      if (first.passed != nullptr) break;  // comes with a call of its own
      const size_t count =
          std::min({part.iov_len - filled, wanted - received, first.bytes.size() - first.read});
      std::memcpy(static_cast<char*>(part.iov_base) + filled, first.bytes.data() + first.read,
                  count);
      first.read += count;
      filled += count;
      received += count;
      if (first.read == first.bytes.size()) inbox_.pop_front();
    }
  }
  fabric_.OnTaken(*connection_, 1 - side_, received);
  return static_cast<ssize_t>(received);
}

ssize_t SimulatedSocket::Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) {
  CHECK(passed == nullptr || can_pass_sockets()) << "sockets don't pass between simulated hosts";
  if (!IsDead() && (was_reset_ || finished_)) return Fails(EPIPE);
  size_t offered = 0;
  for (const iovec& part : parts) offered += part.iov_len;
  if (offered == 0) return 0;
  // From the grave: it goes nowhere.
  if (IsDead()) return static_cast<ssize_t>(offered);
  size_t count = std::min(offered, Room());
  if (count == 0) return Fails(EAGAIN);
  Random& random = fabric_.world().random();
  if (random.OneIn(kShortOnceIn)) count = 1 + random.Below(count);
  std::string bytes;
  for (const iovec& part : parts) {
    bytes.append(static_cast<char*>(part.iov_base), std::min(part.iov_len, count - bytes.size()));
  }
  std::unique_ptr<SimulatedSocket> goes;
  if (passed != nullptr) {
    goes.reset(static_cast<SimulatedSocket*>(passed->release()));
    goes->process_ = nullptr;
  }
  fabric_.Put(*connection_, side_, Kind::kBytes, std::move(bytes), std::move(goes));
  return static_cast<ssize_t>(count);
}

void SimulatedSocket::FinishSending() {
  if (std::exchange(finished_, true) || IsDead()) return;
  fabric_.Put(*connection_, side_, Kind::kEnd);
  fabric_.NotifyObservers(descriptor_);
}

void SimulatedSocket::OnBytes(std::string bytes, std::unique_ptr<SimulatedSocket> passed) {
  inbox_.push_back({std::move(bytes), 0, std::move(passed)});
  fabric_.NotifyObservers(descriptor_);
}

void SimulatedSocket::OnEnd() {
  peer_finished_ = true;
  fabric_.NotifyObservers(descriptor_);
}

void SimulatedSocket::OnReset() {
  was_reset_ = true;
  fabric_.NotifyObservers(descriptor_);
}

}  // namespace closeranks::net
