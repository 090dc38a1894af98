// `closeranks run -n 4 -- PROGRAM ARGS`: the supervisor of this host's workers.
#ifndef CLOSERANKS_CLI_RUN_COMMAND_H_
#define CLOSERANKS_CLI_RUN_COMMAND_H_

#include <ostream>
#include <span>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"

namespace closeranks::cli {

// `arguments` are those after the command's name. Ends with the workers' worst exit code, or with
// kUsage or kNoResources and one line on `err` when nothing could be started. Parses flags by
// gflags, so it runs once in a process.
int RunCommand(std::span<const std::string> arguments, Files& files, std::ostream& err);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_RUN_COMMAND_H_
