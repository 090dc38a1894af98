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
  // gflags leaves by the same way, and with the same code, when it was asked for help.
  google::gflags_exitfunc = [](int code) {
    bool asked = code == 0;
    for (const char* flag : {"help", "helpfull", "helpshort", "helppackage", "helpxml"}) {
      asked = asked || google::GetCommandLineFlagInfoOrDie(flag).current_value == "true";
    }
    std::exit(asked ? 0 : static_cast<int>(ExitCode::kUsage));
  };
}

}  // namespace closeranks
