#include "launcher/restart_policy.h"

#include <algorithm>

#include "base/exit_code.h"

namespace closeranks::launcher {

RestartPolicy::Verdict RestartPolicy::OnExit(TimePoint now, const ExitResult& result) {
  if (result.signal == 0 && !FindExitCode(result.code).restart) {
    return {false, {}, "exit code '" + std::string(FindExitCode(result.code).name) + "' is final"};
  }
  return OnLoss(now, options_.delay);
}

RestartPolicy::Verdict RestartPolicy::OnShortage(TimePoint now) {
  return OnLoss(now, std::max(options_.delay, kShortagePause));
}

RestartPolicy::Verdict RestartPolicy::OnLoss(TimePoint now, Duration delay) {
  while (!restarts_.empty() && now - restarts_.front() > options_.window) restarts_.pop_front();
  if (static_cast<int>(restarts_.size()) >= options_.max_restarts) {
    if (options_.max_restarts == 0) return {false, {}, "--max-restarts=0 allows no restart"};
    return {false,
            {},
            "it was restarted " + std::to_string(options_.max_restarts) +
                " times already (--max-restarts)"};
  }
  const bool is_quick = !restarts_.empty() && now - next_start_ < kQuick;
  pause_ = is_quick ? std::clamp(pause_ * 2, kFirstPause, kMostPause) : Duration(0);
  delay = std::max(delay, pause_);
  restarts_.push_back(now);
  next_start_ = now + delay;
  return {true, delay,
          "restart " + std::to_string(restarts_.size()) + " of at most " +
              std::to_string(options_.max_restarts)};
}

}  // namespace closeranks::launcher
