// Who may have how many of the supervisor's descriptors, so that no crowd at the port keeps it from
// starting a worker.
#ifndef CLOSERANKS_LAUNCHER_DESCRIPTOR_BUDGET_H_
#define CLOSERANKS_LAUNCHER_DESCRIPTOR_BUDGET_H_

#include <cstddef>

#include "base/status.h"

namespace closeranks::launcher {

// How many connections may be open to those who haven't proven yet that they belong to the job:
// what is left of `limit` by those `open` already, by `workers` and by links to `hosts` others.
// kResourceExhausted, naming the limit and the least that will do, when that is next to nothing.
Result<size_t> DescriptorsForStrangers(size_t limit, size_t open, size_t workers, size_t hosts);

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_DESCRIPTOR_BUDGET_H_
