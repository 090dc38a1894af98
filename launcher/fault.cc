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

}  // namespace closeranks::launcher
