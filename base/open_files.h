// How many descriptors this process may have open (`ulimit -n`).
#ifndef CLOSERANKS_BASE_OPEN_FILES_H_
#define CLOSERANKS_BASE_OPEN_FILES_H_

#include <sys/resource.h>

#include <cstddef>

namespace closeranks {

// The limit in force: descriptors are numbered below it.
size_t OpenFilesLimit();
// How many there are.
size_t CountOpenFiles();

// Raises the limit as far as this process may. The one before it, for SetOpenFilesLimit.
rlimit RaiseOpenFilesLimit();
// Async-signal-safe, so that a child can set its own between fork and exec.
void SetOpenFilesLimit(const rlimit& limit);

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_OPEN_FILES_H_
