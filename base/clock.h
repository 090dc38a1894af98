// Time as a seam: everything that waits or measures gets a Clock, so that a test can own time.
#ifndef CLOSERANKS_BASE_CLOCK_H_
#define CLOSERANKS_BASE_CLOCK_H_

#include <chrono>

namespace closeranks {

using Duration = std::chrono::nanoseconds;
// Nanoseconds of one monotonic clock that all processes of a host share.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

inline constexpr TimePoint kNever = TimePoint::max();
// For a limit that is none, and that a time may be added to.
inline constexpr Duration kForEver = std::chrono::hours(24 * 365);

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes backwards. Callable from any thread.
  virtual TimePoint Now() const = 0;
};

// CLOCK_MONOTONIC. Has no state: make one in main and pass it by reference.
class SystemClock final : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
};

// A clock that stands until it is moved. Single-threaded.
class ManualClock final : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  void Advance(Duration by) { now_ += by; }
  // `when` must not lie before Now().
  void AdvanceTo(TimePoint when) { now_ = when; }

 private:
  TimePoint now_{};
};

inline double ToMilliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_CLOCK_H_
