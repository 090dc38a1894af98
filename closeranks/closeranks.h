// The one header that a training program includes. See training.h for the training loop, job.h for
// Run.
#ifndef CLOSERANKS_CLOSERANKS_CLOSERANKS_H_
#define CLOSERANKS_CLOSERANKS_CLOSERANKS_H_

#include "closeranks/error.h"     // IWYU pragma: export
#include "closeranks/job.h"       // IWYU pragma: export
#include "closeranks/training.h"  // IWYU pragma: export
#include "elastic/state.h"        // IWYU pragma: export

#endif  // CLOSERANKS_CLOSERANKS_CLOSERANKS_H_
