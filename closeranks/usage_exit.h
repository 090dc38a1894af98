// gflags ends the process for a flag that it doesn't know; this gives it the exit code of the
// table.
#ifndef CLOSERANKS_CLOSERANKS_USAGE_EXIT_H_
#define CLOSERANKS_CLOSERANKS_USAGE_EXIT_H_

namespace closeranks {

// Call before parsing flags.
void ExitWithUsageCode();

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_USAGE_EXIT_H_
