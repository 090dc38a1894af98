#include "base/open_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "glog/logging.h"

namespace closeranks {
namespace {

rlimit Limit() {
  rlimit limit{};
  PCHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit;
}

}  // namespace

size_t OpenFilesLimit() { return Limit().rlim_cur; }

size_t CountOpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator all("/proc/self/fd", error);
  // Without /proc: those that every program has.
  return error ? 3 : static_cast<size_t>(std::distance(begin(all), end(all))) - 1;
}

rlimit RaiseOpenFilesLimit() {
  rlimit before = Limit();
  rlimit raised = before;
  raised.rlim_cur = raised.rlim_max;
  SetOpenFilesLimit(raised);
  return before;
}

// Refused where the hard limit was lowered meanwhile: the one in force then stays.
void SetOpenFilesLimit(const rlimit& limit) { setrlimit(RLIMIT_NOFILE, &limit); }

}  // namespace closeranks
