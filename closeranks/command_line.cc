#include "closeranks/command_line.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/exit_code.h"
#include "closeranks/version.h"
#include "gflags/gflags.h"

DECLARE_bool(help);
DECLARE_bool(helpshort);
DECLARE_bool(version);

// gflags exports where it goes after it has printed what is wrong, but doesn't declare it.
namespace google {
extern void (*gflags_exitfunc)(int);
}

namespace closeranks {
namespace {

constexpr size_t kColumns = 90;

// gflags and glog were compiled elsewhere, and their files show it.
bool IsOfALibrary(const google::CommandLineFlagInfo& flag) {
  return flag.filename.find("gflags") != std::string::npos || flag.filename.starts_with("./src/");
}

std::string Wrapped(const std::string& text, std::string_view indent) {
  std::istringstream words(text);
  std::string lines, line(indent);
  for (std::string word; words >> word;) {
    if (line.size() > indent.size() && line.size() + 1 + word.size() > kColumns) {
      lines += line + "\n";
      line = indent;
    }
    if (line.size() > indent.size()) line += " ";
    line += word;
  }
  return lines + line + "\n";
}

// As a person would write it.
std::string DefaultOf(const google::CommandLineFlagInfo& flag) {
  if (flag.default_value.empty()) return "\"\"";
  if (flag.type != "double") return flag.default_value;
  std::ostringstream text;
  text << std::stod(flag.default_value);
  return text.str();
}

void PrintHelp(const std::string& usage) {
  std::cout << "usage: " << usage << "\n";
  std::vector<google::CommandLineFlagInfo> flags;
  google::GetAllFlags(&flags);  // by file, then by name
  std::erase_if(flags, IsOfALibrary);
  std::string_view file;
  for (const google::CommandLineFlagInfo& flag : flags) {
    if (flag.filename != file) std::cout << "\n";
    file = flag.filename;
    std::string name = flag.name;
    std::replace(name.begin(), name.end(), '_', '-');
    std::cout << (name.size() == 1 ? "  -" : "  --") << name << "=" << DefaultOf(flag) << "\n"
              << Wrapped(flag.description, "      ");
  }
  std::cout << "\nThe values shown are the defaults. --helpfull lists the flags of the logging "
               "library, too.\n";
}

}  // namespace

void ParseCommandLine(const std::string& usage, int* argc, char*** argv) {
  google::SetUsageMessage(usage);
  google::gflags_exitfunc = [](int) { std::exit(static_cast<int>(ExitCode::kUsage)); };
  google::ParseCommandLineNonHelpFlags(argc, argv, /*remove_flags=*/true);
  if (FLAGS_help || FLAGS_helpshort) {
    PrintHelp(usage);
    std::exit(static_cast<int>(ExitCode::kOk));
  }
  if (FLAGS_version) {
    std::cout << VersionLine();
    std::exit(static_cast<int>(ExitCode::kOk));
  }
  // The other flags that end a program well after they have printed something.
  google::gflags_exitfunc = [](int) { std::exit(static_cast<int>(ExitCode::kOk)); };
  google::HandleCommandLineHelpFlags();
}

}  // namespace closeranks
