#include "launcher/fault.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace closeranks::launcher {
namespace {

template <typename T>
bool Parse(std::string_view text, T& value) {
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && rest == text.data() + text.size() && value >= T{0};
}

}  // namespace

Result<Fault> ParseFault(std::string_view text) {
  Status wrong =
      InvalidArgument("--kill=" + std::string(text) +
                      ": expected RANK[,RANK...]@STEP or @PERCENT%, such as 0@329 or 2,3@50%");
  Fault fault;
  fault.text = text;
  size_t at = text.find('@');
  if (at == std::string_view::npos) return wrong;
  std::string_view when = text.substr(at + 1);
  if (when.ends_with('%')) {
    when.remove_suffix(1);
    if (!Parse(when, fault.percent) || fault.percent > 100) return wrong;
  } else if (!Parse(when, fault.step) || fault.step < 1) {
    return wrong;
  }
  std::string_view ranks = text.substr(0, at);
  while (true) {
    size_t comma = ranks.find(',');
    int rank = -1;
    if (!Parse(ranks.substr(0, comma), rank)) return wrong;
    if (std::find(fault.ranks.begin(), fault.ranks.end(), rank) != fault.ranks.end()) return wrong;
    fault.ranks.push_back(rank);
    if (comma == std::string_view::npos) return fault;
    ranks.remove_prefix(comma + 1);
  }
}

bool Fault::IsDue(StepNumber now, StepNumber steps) const {
  return step > 0 ? now >= step
                  : static_cast<double>(now) * 100 >= static_cast<double>(steps) * percent;
}

std::optional<Duration> FaultAim::OnBegin(TimePoint now, int rank, StepNumber step,
                                          StepNumber steps) {
  if (step > begun_) {
    begun_ = step;
    begun_at_ = now;
  }
  if (!fault_.IsDue(step, steps)) return std::nullopt;
  was_due_ = true;
  bool is_target = std::find(fault_.ranks.begin(), fault_.ranks.end(), rank) != fault_.ranks.end();
  if (!is_target || target_ != 0) return std::nullopt;
  target_ = step;
  // The half that is expected; nearer to the begin each time that it came too late.
  return std::max(begun_at_ + step_time_ / (2 << std::min(late_, 16)) - now, Duration{0});
}

void FaultAim::OnCommit(TimePoint now, StepNumber step) {
  if (step <= committed_) return;
  committed_ = step;
  step_time_ = now - begun_at_;
}

std::optional<StepNumber> FaultAim::Strike() {
  if (target_ > committed_) return target_;
  target_ = 0;
  ++late_;
  return std::nullopt;
}

}  // namespace closeranks::launcher
