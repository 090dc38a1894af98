// A fault on purpose: which ranks are killed, and when.
#ifndef CLOSERANKS_LAUNCHER_FAULT_H_
#define CLOSERANKS_LAUNCHER_FAULT_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"

namespace closeranks::launcher {

struct Fault {
  std::vector<int> ranks;  // in the world of that moment
  // In the middle of this step, or of the one at this percentage of the run.
  StepNumber step = 0;
  double percent = 0;
  std::string text;  // as it was asked for

  // Whether `step` of `steps` is late enough.
  bool IsDue(StepNumber step, StepNumber steps) const;
};

// "RANK[,RANK...]@STEP" or "RANK[,RANK...]@PERCENT%". kInvalidArgument says what is wrong with it.
Result<Fault> ParseFault(std::string_view text);

// Finds the middle of a step to strike in, from what the workers tell of their steps. Pure: time
// comes in with the calls.
class FaultAim {
 public:
  explicit FaultAim(Fault fault) : fault_(std::move(fault)) {}

  // A worker began a step. How long from now on Strike is to be called, if this is the step: not
  // again before that.
  std::optional<Duration> OnBegin(TimePoint now, int rank, StepNumber step, StepNumber steps);
  // A worker committed a step.
  void OnCommit(TimePoint now, StepNumber step);
  // The step to strike in, now. None when it was done before its expected half: OnBegin will choose
  // the next one.
  std::optional<StepNumber> Strike();

  const Fault& fault() const { return fault_; }
  // Whether a step that is late enough was begun, by any rank.
  bool was_due() const { return was_due_; }
  StepNumber committed() const { return committed_; }

 private:
  Fault fault_;
  StepNumber begun_ = 0;  // the newest step of any worker
  TimePoint begun_at_{};
  Duration step_time_{0};  // of the newest step that was committed
  StepNumber committed_ = 0;
  bool was_due_ = false;
  int late_ = 0;           // how often Strike came when the step was done
  StepNumber target_ = 0;  // the step to strike in; 0: none yet
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_FAULT_H_
