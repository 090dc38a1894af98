// Parsing of a program's flags, and what it says to --help.
#ifndef CLOSERANKS_CLOSERANKS_COMMAND_LINE_H_
#define CLOSERANKS_CLOSERANKS_COMMAND_LINE_H_

#include <string>

namespace closeranks {

// Parses gflags and removes them from `argc` and `argv`; what is left is no flag. May end the
// process: with kUsage for a flag that doesn't exist or has no such value, after one line that
// names it; with kOk after --help, which prints `usage` and the flags of the program and of
// Closeranks, those of the logging library only with --helpfull; and after --version.
void ParseCommandLine(const std::string& usage, int* argc, char*** argv);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_COMMAND_LINE_H_
