// Numbers as the reports print them: with their unit, and with as many digits as mean something.
#ifndef CLOSERANKS_TELEMETRY_REPORT_FORMAT_NUMBER_H_
#define CLOSERANKS_TELEMETRY_REPORT_FORMAT_NUMBER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace closeranks::telemetry {

// 120000 -> "120,000".
std::string FormatCount(int64_t count);
// With `decimals` digits after the point: (3.14159, 2) -> "3.14". "n/a" when it isn't finite.
std::string FormatFixed(double value, int decimals);
// 0.042 -> "0.042 ms", 8.43 -> "8.4 ms", 843.1 -> "843 ms", 2310 -> "2.31 s".
std::string FormatMilliseconds(double milliseconds);
// 1536 -> "1.5 KiB".
std::string FormatBytes(int64_t bytes);
// (1, "step", "steps") -> "1 step".
std::string Counted(int64_t count, std::string_view one, std::string_view many);
// {0} -> "Rank 0"; {0, 1, 3} -> "Ranks 0, 1 and 3"; {} -> "A rank".
std::string RankList(std::span<const int32_t> ranks);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_FORMAT_NUMBER_H_
