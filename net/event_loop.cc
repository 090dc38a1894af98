#include "net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

constexpr uint64_t kWakeWatch = 0;
constexpr int kEventsAtOnce = 64;

uint32_t ToEpoll(Interest interest) {
  return (interest.readable ? EPOLLIN : 0u) | (interest.writable ? EPOLLOUT : 0u);
}

Ready FromEpoll(uint32_t events) {
  return {.readable = (events & EPOLLIN) != 0,
          .writable = (events & EPOLLOUT) != 0,
          .hung_up = (events & (EPOLLERR | EPOLLHUP)) != 0};
}

timespec ToTimespec(Duration duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

int ToMillisecondsRoundedUp(Duration duration) {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<int>(std::min<int64_t>(milliseconds, INT_MAX));
}

}  // namespace

EventLoop::EventLoop(const Clock& clock)
    : clock_(clock),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  PCHECK(epoll_) << "epoll_create1";
  PCHECK(wake_) << "eventfd";
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeWatch}};
  PCHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);
}

EventLoop::~EventLoop() = default;

Status EventLoop::Watch(int fd, Interest interest, ReadyCallback callback) {
  CHECK(!watch_of_fd_.contains(fd)) << "descriptor " << fd << " is watched already";
  const uint64_t id = next_watch_++;
  epoll_event event{.events = ToEpoll(interest), .data = {.u64 = id}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    PCHECK(errno != EBADF && errno != EEXIST) << "descriptor " << fd;
    return ErrnoStatus(errno, "watching a descriptor");
  }
  watch_of_fd_[fd] = id;
  watches_[id] = std::make_shared<Watched>(fd, std::move(callback));
  return OkStatus();
}

void EventLoop::Modify(int fd, Interest interest) {
  const auto found = watch_of_fd_.find(fd);
  CHECK(found != watch_of_fd_.end()) << "descriptor " << fd << " isn't watched";
  epoll_event event{.events = ToEpoll(interest), .data = {.u64 = found->second}};
  PCHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) << "descriptor " << fd;
}

void EventLoop::Unwatch(int fd) {
  const auto found = watch_of_fd_.find(fd);
  if (found == watch_of_fd_.end()) return;
  PCHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) == 0)
      << "descriptor " << fd << " was closed while it was watched";
  // The callback is destroyed last: its captures may own what calls Unwatch again.
  const auto watched = watches_.extract(found->second);
  watch_of_fd_.erase(found);
}

void EventLoop::Post(std::function<void()> function) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(function));
  }
  // Whoever found functions waiting there knows that the loop has been woken for them.
  if (first) Wake();
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // EAGAIN means that the counter is full: the loop is as awake as it can be.
  if (write(wake_.get(), &one, sizeof(one)) < 0) PCHECK(errno == EAGAIN) << "eventfd";
}

TimerId EventLoop::RunAt(TimePoint when, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  time_of_timer_[id] = when;
  timers_.emplace(std::pair(when, id), std::move(callback));
  return id;
}

void EventLoop::Cancel(TimerId id) {
  const auto found = time_of_timer_.find(id);
  if (found == time_of_timer_.end()) return;
  const auto timer = timers_.extract(std::pair(found->second, id));
  time_of_timer_.erase(found);
}

size_t EventLoop::PollOnce(Duration max_wait) {
  Duration wait = std::max(max_wait, Duration::zero());
  if (!timers_.empty() && wait > Duration::zero()) {
    const TimePoint next = timers_.begin()->first.first;
    if (next != kNever) wait = std::min(wait, std::max(next - Now(), Duration::zero()));
  }
  // Waiting functions have signalled wake_, so they end the wait too.
  size_t ran = RunReady(WaitForEvents(wait));
  ran += RunPosted();
  ran += RunDueTimers();
  return ran;
}

int EventLoop::WaitForEvents(Duration wait) {
  events_.resize(kEventsAtOnce);
  const bool for_ever = wait == Duration::max();
  int count = -1;
  if (has_exact_wait_) {
    const timespec timeout = ToTimespec(for_ever ? Duration::zero() : wait);
    count = epoll_pwait2(epoll_.get(), events_.data(), kEventsAtOnce, for_ever ? nullptr : &timeout,
                         nullptr);
    // An old kernel doesn't know the call; an old container runtime forbids what it doesn't know.
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) has_exact_wait_ = false;
  }
  if (!has_exact_wait_) {
    count = epoll_wait(epoll_.get(), events_.data(), kEventsAtOnce,
                       for_ever ? -1 : ToMillisecondsRoundedUp(wait));
  }
  if (count < 0) {
    PCHECK(errno == EINTR) << "epoll_wait";
    return 0;
  }
  return count;
}

size_t EventLoop::RunReady(int count) {
  size_t ran = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events_[i];
    if (event.data.u64 == kWakeWatch) {
      uint64_t posts;
      if (read(wake_.get(), &posts, sizeof(posts)) < 0) PCHECK(errno == EAGAIN) << "eventfd";
      continue;
    }
    const auto found = watches_.find(event.data.u64);
    if (found == watches_.end()) continue;  // unwatched by a callback before it in this batch
    // Keeps the callback alive while it runs, should it unwatch itself.
    const std::shared_ptr<Watched> watched = found->second;
    watched->callback(FromEpoll(event.events));
    ++ran;
  }
  return ran;
}

size_t EventLoop::RunPosted() {
  std::vector<std::function<void()>> functions;
  {
    std::lock_guard lock(mutex_);
    functions.swap(posted_);
  }
  for (std::function<void()>& function : functions) {
    function();
    function = nullptr;  // what it holds goes before the next one runs
  }
  return functions.size();
}

size_t EventLoop::RunDueTimers() {
  // Timers that are set by these wait for the next round, so that descriptors get their turn.
  const TimePoint now = Now();
  const TimerId first_new = next_timer_;
  size_t ran = 0;
  auto next = timers_.begin();
  while (next != timers_.end() && next->first.first <= now) {
    const auto key = next->first;
    if (key.second >= first_new) {
      ++next;
      continue;
    }
    auto timer = timers_.extract(next);
    time_of_timer_.erase(key.second);
    timer.mapped()();
    ++ran;
    next = timers_.upper_bound(key);
  }
  return ran;
}

void EventLoop::Run() {
  while (!stopped_) PollOnce(Duration::max());
  stopped_ = false;
}

void EventLoop::Stop() {
  Post([this] { stopped_ = true; });
}

}  // namespace closeranks::net
