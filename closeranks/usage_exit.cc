#include "closeranks/usage_exit.h"

#include <cstdlib>

#include "base/exit_code.h"
#include "gflags/gflags.h"

// gflags exports where it goes after it has printed what is wrong, but doesn't declare it.
namespace google {
extern void (*gflags_exitfunc)(int);
}

namespace closeranks {

void ExitWithUsageCode() {
  // 0 is --help's own.
  google::gflags_exitfunc = [](int code) {
    std::exit(code == 0 ? 0 : static_cast<int>(ExitCode::kUsage));
  };
}

}  // namespace closeranks
