// Whether a worker that ended is started again.
#ifndef CLOSERANKS_LAUNCHER_RESTART_POLICY_H_
#define CLOSERANKS_LAUNCHER_RESTART_POLICY_H_

#include <deque>
#include <string>

#include "base/clock.h"
#include "launcher/child_process.h"

namespace closeranks::launcher {

// One for each member. Pure: time comes in with the calls.
class RestartPolicy {
 public:
  struct Options {
    int max_restarts = 3;  // within `window`
    Duration window = std::chrono::minutes(10);
    Duration delay{0};  // from the end to the new start
  };
  struct Verdict {
    bool restart = false;
    Duration delay{0};
    std::string reason;  // for the log: why it is, or isn't, started again
  };

  // Who ends again within kQuick of its restart waits kFirstPause, then twice as long each time, up
  // to kMostPause: what it lacked may come, and it isn't the machine's only work.
  static constexpr Duration kQuick = std::chrono::seconds(10);
  static constexpr Duration kFirstPause = std::chrono::milliseconds(250);
  static constexpr Duration kMostPause = std::chrono::seconds(5);
  // After a start for which something ran out: no sooner than the shortage may have passed.
  static constexpr Duration kShortagePause = std::chrono::seconds(1);

  explicit RestartPolicy(Options options) : options_(options) {}

  // Restarts after a signal or an exit code whose row in the exit-code table says so, unless there
  // were `max_restarts` within the window.
  Verdict OnExit(TimePoint now, const ExitResult& result);
  // The same, of one that couldn't even be started.
  Verdict OnShortage(TimePoint now);

 private:
  Verdict OnLoss(TimePoint now, Duration delay);

  Options options_;
  std::deque<TimePoint> restarts_;  // when the ends were that they followed
  TimePoint next_start_{};          // when the last one was to be
  Duration pause_{0};
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_RESTART_POLICY_H_
