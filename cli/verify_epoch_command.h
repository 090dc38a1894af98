// `closeranks verify-epoch`: proves from the ledgers alone that each sample was committed once.
#ifndef CLOSERANKS_CLI_VERIFY_EPOCH_COMMAND_H_
#define CLOSERANKS_CLI_VERIFY_EPOCH_COMMAND_H_

#include <ostream>
#include <span>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"

namespace closeranks::cli {

// `arguments` are those after the command's name:
//   [--samples N] [--epochs E] [--json] REPORT [REPORT...]
// Prints a table to `out`, or one JSON object. kOk when every sample of every epoch was consumed
// exactly once and no step is without a record, kError otherwise, kUsage (and a line on `err`) when
// the arguments or the ledgers can't be understood.
ExitCode VerifyEpochCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                            std::ostream& err);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_VERIFY_EPOCH_COMMAND_H_
