#include "telemetry/report/format_number.h"

#include <cmath>
#include <cstdio>

namespace closeranks::telemetry {

std::string FormatCount(int64_t count) {
  std::string digits = std::to_string(count);
  size_t first = count < 0 ? 1 : 0;
  for (size_t place = digits.size(); place > first + 3; place -= 3) {
    digits.insert(place - 3, 1, ',');
  }
  return digits;
}

std::string FormatFixed(double value, int decimals) {
  if (!std::isfinite(value)) return "n/a";
  char text[400];  // the greatest double has 309 digits before its point
  std::snprintf(text, sizeof(text), "%.*f", decimals, value);
  return text;
}

std::string FormatMilliseconds(double milliseconds) {
  double size = std::fabs(milliseconds);
  if (size == 0) return "0 ms";
  if (size >= 1000) return FormatFixed(milliseconds / 1000, 2) + " s";
  return FormatFixed(milliseconds, size >= 100 ? 0 : size >= 1 ? 1 : 3) + " ms";
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return FormatFixed(value, 1) + " " + kUnits[unit];
}

std::string Counted(int64_t count, std::string_view one, std::string_view many) {
  return FormatCount(count) + " " + std::string(count == 1 ? one : many);
}

std::string RankList(std::span<const int32_t> ranks) {
  if (ranks.empty()) return "A rank";
  std::string text = ranks.size() == 1 ? "Rank " : "Ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

}  // namespace closeranks::telemetry
