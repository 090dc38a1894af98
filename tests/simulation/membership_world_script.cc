// A sound job, one thing that happens to it, and one more at a chosen message of what follows.
#include <utility>

#include "tests/simulation/membership_world.h"

namespace closeranks::simulation {
namespace {

// What is sent so long after the trigger belongs to what it set off.
constexpr Duration kAftermath = std::chrono::milliseconds(500);
constexpr Duration kCut = std::chrono::seconds(3);
// For silence to be noticed, twice, and two generations; with a cut, after its end.
constexpr Duration kBound = std::chrono::seconds(8);

}  // namespace

MembershipWorld::Result MembershipWorld::RunScript() {
  for (MemberId member = 0; member < character_.members; ++member) StartPod(member);
  if (!RunUntilSettled(std::chrono::seconds(5))) {
    checker_.Fail("the job doesn't start:\n" + Describe());
  }
  Trigger();
  const TimePoint armed_until = now_ + kAftermath;
  Result result;
  if (RunUntil(armed_until)) {
    triggered_ = false;
    settled_in_ = nullptr;
    const bool settled = RunUntilSettled(kBound + (blocked_.empty() ? Duration(0) : kCut));
    // Only where the last two of three go, one by its own will, is nothing left to go on.
    result.lost = !settled && script_->trigger == Script::Trigger::kPodLeaves &&
                  script_->members == 3 && IsLost();
    if (!settled && !result.lost) checker_.Fail("its survivors don't go on:\n" + Describe());
  }
  result.violation = checker_.violation();
  result.end = now_;
  result.struck = struck_;
  return result;
}

bool MembershipWorld::RunUntilSettled(Duration limit) {
  const TimePoint deadline = now_ + limit;
  while (now_ < deadline && RunUntil(now_ + std::chrono::milliseconds(100))) {
    if (IsSettled()) return true;
  }
  return false;
}

void MembershipWorld::Trigger() {
  triggered_ = true;
  const int last = NewestPod(character_.members - 1);
  switch (script_->trigger) {
    case Script::Trigger::kWorkerKilled:
      KillWorker(last, std::chrono::milliseconds(200));
      return;
    case Script::Trigger::kPodKilled:
      KillPod(last, "killed");
      return;
    case Script::Trigger::kPodLeaves: {
      const int first = NewestPod(0);
      pods_[first]->leaving = true;
      ToPod(first,
            [this, first] { pods_[first]->membership->OnLeaving(LocalTime(*pods_[first])); });
      return;
    }
    case Script::Trigger::kPodJoins:
      StartPod(character_.members);
      return;
  }
}

// True when the message isn't sent.
bool MembershipWorld::StrikesBefore(int from, int to) {
  if (sent_++ != script_->message) return false;
  struck_ = true;
  switch (script_->strike) {
    case Script::Strike::kSenderEndsBefore:
      KillPod(from, "strikes before it sends");
      return true;
    case Script::Strike::kSenderEndsAfter:
      return false;
    case Script::Strike::kReceiverEnds:
      KillPod(to, "strikes before it receives");
      return true;
    case Script::Strike::kCutThere:
      blocked_[{from, to}] = now_ + kCut;
      return true;
    case Script::Strike::kCutBack:
      blocked_[{to, from}] = now_ + kCut;
      return false;
  }
  return false;
}

void MembershipWorld::StrikeAfter(int from) {
  if (sent_ != script_->message + 1 || script_->strike != Script::Strike::kSenderEndsAfter) return;
  After(Duration(0), [this, from] { KillPod(from, "strikes after it has sent"); });
}

}  // namespace closeranks::simulation
