// glog 0.6 has the callback when it was built with WITH_CUSTOM_PREFIX, as Debian's and Ubuntu's
// are, and declares it only for who asks. Before any include that includes glog.
#define GLOG_CUSTOM_PREFIX_SUPPORT 1  // NOLINT
#include "telemetry/log_prefix.h"

#include <iomanip>

#include "glog/logging.h"

namespace closeranks::telemetry {
namespace {

std::string ShownNumber(int64_t value) { return value < 0 ? "-" : std::to_string(value); }

// glog puts "] " or " " of its own after what this writes, depending on its version; 0.6 a space.
void WritePrefix(std::ostream& out, const google::LogMessageInfo& line, void* data) {
  const auto& prefix = *static_cast<const LogPrefix*>(data);
  const google::LogMessageTime& time = line.time;
  char fill = out.fill('0');
  out << line.severity[0] << ' ' << std::setw(2) << time.hour() << ':' << std::setw(2) << time.min()
      << ':' << std::setw(2) << time.sec() << '.' << std::setw(6) << time.usec() << ' ';
  out.fill(fill);
  out << line.thread_id << ' ' << line.filename << ':' << line.line_number << "] "
      << prefix.ToString();
}

}  // namespace

std::string LogPrefix::ToString() const {
  return "gen=" + ShownNumber(generation.load(std::memory_order_relaxed)) +
         " rank=" + ShownNumber(rank.load(std::memory_order_relaxed)) +
         " op=" + ShownNumber(op_sequence.load(std::memory_order_relaxed));
}

void InitLogging(const char* argv0, LogPrefix& prefix) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv0, &WritePrefix, &prefix);
}

}  // namespace closeranks::telemetry
