#include "tests/simulation/first_violation.h"

#include <cstdio>
#include <cstdlib>
#include <regex>

#include "gflags/gflags.h"
#include "glog/logging.h"

DEFINE_string(expect_violation, "",
              "the code under test has a mistake planted: succeed if the first violation has this "
              "in it, a regular expression. A failed CHECK is \"FILE: Check failed: ...\"");

namespace closeranks::simulation {
namespace {

class FatalMessage final : public google::LogSink {
 public:
  void send(google::LogSeverity severity, const char* full_filename, const char*, int,
            const google::LogMessageTime&, const char* message, size_t message_len) override {
    if (severity != google::GLOG_FATAL) return;
    text_ = full_filename + (": " + std::string(message, message_len));
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// glog calls a plain function.
FatalMessage* fatal_message = nullptr;
int (*end_by)(const std::string& violation) = nullptr;

[[noreturn]] void OnFailedCheck() {
  const int exit_code = end_by(fatal_message->text());
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

}  // namespace

bool ExpectsViolation() { return !FLAGS_expect_violation.empty(); }

int ExitCodeOf(const std::string& violation) {
  if (!ExpectsViolation()) return 1;
  if (std::regex_search(violation, std::regex(FLAGS_expect_violation))) return 0;
  std::fprintf(stderr, "the mistake would have broken: %s\n", FLAGS_expect_violation.c_str());
  return 1;
}

int ExitCodeOfNone() {
  if (!ExpectsViolation()) return 0;
  std::fprintf(stderr, "the mistake was not found\n");
  return 1;
}

void EndByFailedCheck(int (*on_violation)(const std::string& violation)) {
  static FatalMessage message;
  fatal_message = &message;
  end_by = on_violation;
  google::AddLogSink(fatal_message);
  google::InstallFailureFunction(&OnFailedCheck);
}

}  // namespace closeranks::simulation
