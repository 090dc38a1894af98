// `closeranks count-samples`: what became of every sample, from the ledgers alone.
#ifndef CLOSERANKS_CLI_COUNT_SAMPLES_COMMAND_H_
#define CLOSERANKS_CLI_COUNT_SAMPLES_COMMAND_H_

#include <ostream>
#include <span>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"

namespace closeranks::cli {

// `arguments` are those after the command's name:
//   --samples N --epochs E [--json] FOLDER
// Prints a table to `out`, or one JSON object. kOk when every sample of every epoch was consumed
// exactly once and no step is without a record, kError otherwise, kUsage (and a line on `err`) when
// the arguments or the ledgers can't be understood.
ExitCode CountSamplesCommand(std::span<const std::string> arguments, Files& files,
                             std::ostream& out, std::ostream& err);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_COUNT_SAMPLES_COMMAND_H_
