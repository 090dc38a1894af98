// What a job sets in libtorch. Apart from job.cc, because libtorch's headers and glog's both define
// LOG and CHECK, and the log lines of a job are glog's.
#ifndef CLOSERANKS_CLOSERANKS_LIBTORCH_SETTINGS_H_
#define CLOSERANKS_CLOSERANKS_LIBTORCH_SETTINGS_H_

#include <cstdint>

namespace closeranks {

// Both decide the bits of the weights: call it once, before the program makes its model.
void SetUpLibtorch(int threads, uint64_t seed);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_LIBTORCH_SETTINGS_H_
