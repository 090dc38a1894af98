// The version of Closeranks, and which build of it a program is.
#ifndef CLOSERANKS_CLOSERANKS_VERSION_H_
#define CLOSERANKS_CLOSERANKS_VERSION_H_

#include <string>
#include <string_view>

namespace closeranks {

inline constexpr std::string_view kVersion = "0.1.0";

std::string CompilerName();

// This very executable, by the build ID that the linker puts into it: hexadecimal, or "?".
std::string ProgramId();

// What --version prints: "closeranks 0.1.0 (g++ 12.2.0, program 0a1b...)", with a newline.
std::string VersionLine();

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_VERSION_H_
