// closeranks explain: who is missing or slow, at which operation, and who waits for it.
#ifndef CLOSERANKS_CLI_EXPLAIN_COMMAND_H_
#define CLOSERANKS_CLI_EXPLAIN_COMMAND_H_

#include <ostream>
#include <span>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"

namespace closeranks::cli {

ExitCode ExplainCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                        std::ostream& err);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_EXPLAIN_COMMAND_H_
