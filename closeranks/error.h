// What the public interface throws.
#ifndef CLOSERANKS_CLOSERANKS_ERROR_H_
#define CLOSERANKS_CLOSERANKS_ERROR_H_

#include <stdexcept>
#include <utility>

#include "base/exit_code.h"
#include "base/status.h"

namespace closeranks {

// A Status that left the runtime. Run() turns it into one line of log and the exit code.
class Error : public std::runtime_error {
 public:
  explicit Error(Status status) : Error(status, ExitCodeFor(status)) {}
  Error(Status status, ExitCode exit_code)
      : std::runtime_error(status.message()), status_(std::move(status)), exit_code_(exit_code) {}

  const Status& status() const { return status_; }
  ExitCode exit_code() const { return exit_code_; }

 private:
  Status status_;
  ExitCode exit_code_;
};

inline void ThrowIfError(const Status& status) {
  if (!status.ok()) throw Error(status);
}

template <typename T>
T ValueOrThrow(Result<T> result) {
  ThrowIfError(result.status());
  return *std::move(result);
}

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_ERROR_H_
