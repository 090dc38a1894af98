// What decides the bits of the results besides the configuration, for the handshake to compare.
#ifndef CLOSERANKS_CLOSERANKS_BUILD_INFO_H_
#define CLOSERANKS_CLOSERANKS_BUILD_INFO_H_

#include <string>

namespace closeranks {

// Names the compiler, libtorch, and this very executable.
std::string BuildName();

// The vector instructions that libtorch and the reductions use on this CPU.
std::string KernelName();

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_BUILD_INFO_H_
