#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>

#include "base/unique_fd.h"
#include "collectives/engine/descriptor_watch.h"
#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

constexpr size_t kMaxEvents = 64;

class EpollWatch final : public DescriptorWatch {
 public:
  explicit EpollWatch(const Clock& clock)
      : clock_(clock),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    CHECK(epoll_ && wake_) << ErrnoStatus(errno, "making what an engine sleeps on");
    epoll_event event{};
    event.events = EPOLLIN;
    CHECK_EQ(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event), 0);
  }

  Status Add(int descriptor, void* owner) override {
    return Change(EPOLL_CTL_ADD, descriptor, owner, false);
  }

  void WatchWriting(int descriptor, void* owner, bool writing) override {
    const Status changed = Change(EPOLL_CTL_MOD, descriptor, owner, writing);
    CHECK(changed.ok()) << changed;
  }

  void Remove(int descriptor) override {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr);
  }

  size_t Ready(std::span<void*> owners) override {
    std::array<epoll_event, kMaxEvents> events;
    const int most = static_cast<int>(std::min(owners.size(), kMaxEvents));
    const int count = epoll_wait(epoll_.get(), events.data(), most, 0);
    size_t ready = 0;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr != nullptr) owners[ready++] = events[i].data.ptr;
    }
    return ready;
  }

  void Sleep(TimePoint until) override {
    int timeout_ms = -1;
    if (until != kNever) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock_.Now());
      timeout_ms = static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
    }
    epoll_event event;
    (void)epoll_wait(epoll_.get(), &event, 1, timeout_ms);
  }

  void Wake() override {
    const uint64_t one = 1;
    CHECK_EQ(write(wake_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  }

  void ClearWake() override {
    uint64_t count = 0;
    (void)!read(wake_.get(), &count, sizeof(count));  // nonblocking: nothing there is fine
  }

 private:
  Status Change(int change, int descriptor, void* owner, bool writing) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    if (writing) event.events |= EPOLLOUT;
    event.data.ptr = owner;
    if (epoll_ctl(epoll_.get(), change, descriptor, &event) != 0) {
      return ErrnoStatus(errno, "watching a transport");
    }
    return OkStatus();
  }

  const Clock& clock_;
  const UniqueFd epoll_;  // the descriptors and wake_, whose owner is null
  const UniqueFd wake_;
};

}  // namespace

std::unique_ptr<DescriptorWatch> MakeEpollWatch(const Clock& clock) {
  return std::make_unique<EpollWatch>(clock);
}

}  // namespace closeranks::collectives
