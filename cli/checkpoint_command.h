// `closeranks checkpoint`: what is in a checkpoint folder, and whether it is whole.
#ifndef CLOSERANKS_CLI_CHECKPOINT_COMMAND_H_
#define CLOSERANKS_CLI_CHECKPOINT_COMMAND_H_

#include <ostream>
#include <span>
#include <string>

#include "base/exit_code.h"
#include "base/files.h"

namespace closeranks::cli {

// `arguments` are those after the command's name:
//   ls FOLDER | verify FOLDER | show FOLDER [CHECKPOINT]
// kError when verify found one that isn't as it was written; kUsage (and a line on `err`) when the
// arguments can't be understood or there is no checkpoint.
ExitCode CheckpointCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                           std::ostream& err);

}  // namespace closeranks::cli

#endif  // CLOSERANKS_CLI_CHECKPOINT_COMMAND_H_
