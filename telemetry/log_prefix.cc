// glog 0.6 has the callback when it was built with WITH_CUSTOM_PREFIX, as Debian's and Ubuntu's
// are, and declares it only for who asks. Before any include that includes glog.
#define GLOG_CUSTOM_PREFIX_SUPPORT 1  // NOLINT
#include "telemetry/log_prefix.h"

#include <unistd.h>

#include <iomanip>
#include <sstream>
#include <string_view>
#include <utility>

#include "glog/logging.h"

namespace closeranks::telemetry {
namespace {

std::string ShownNumber(int64_t value) { return value < 0 ? "-" : std::to_string(value); }

// InitLogging's.
const LogPrefix* prefix_of_log = nullptr;

void WriteStart(std::ostream& out, const google::LogMessageInfo& line) {
  const google::LogMessageTime& time = line.time;
  char fill = out.fill('0');
  out << line.severity[0] << ' ' << std::setw(2) << time.hour() << ':' << std::setw(2) << time.min()
      << ':' << std::setw(2) << time.sec() << '.' << std::setw(6) << time.usec() << ' ';
  out.fill(fill);
  out << line.thread_id << ' ' << line.filename << ':' << line.line_number << "] "
      << prefix_of_log->ToString();
}

// glog puts "] " or " " of its own after what this writes, depending on its version; 0.6 a space.
void WritePrefix(std::ostream& out, const google::LogMessageInfo& line, void*) {
  WriteStart(out, line);
}

}  // namespace

std::string LogPrefix::ToString() const {
  return "gen=" + ShownNumber(generation.load(std::memory_order_relaxed)) +
         " rank=" + ShownNumber(rank.load(std::memory_order_relaxed)) +
         " op=" + ShownNumber(op_sequence.load(std::memory_order_relaxed));
}

void InitLogging(const char* argv0, LogPrefix& prefix) {
  FLAGS_logtostderr = true;
  prefix_of_log = &prefix;
  google::InitGoogleLogging(argv0, &WritePrefix);
}

class LogTap::Sink final : public google::LogSink {
 public:
  explicit Sink(std::function<void(const std::string& line)> take) : take_(std::move(take)) {}

  void send(google::LogSeverity severity, const char*, const char* file, int line,
            const google::LogMessageTime& time, const char* message, size_t length) override {
    if (severity >= google::GLOG_FATAL) return;
    const int thread = gettid();
    std::ostringstream text;
    WriteStart(text, google::LogMessageInfo(google::GetLogSeverityName(severity), file, line,
                                            thread, time));
    text << ' ' << std::string_view(message, length);
    take_(text.str());
  }

 private:
  const std::function<void(const std::string& line)> take_;
};

LogTap::LogTap(std::function<void(const std::string& line)> take)
    : sink_(std::make_unique<Sink>(std::move(take))) {
  // Neither to stderr nor to files, where glog would put it otherwise.
  FLAGS_logtostderr = false;
  FLAGS_stderrthreshold = google::GLOG_FATAL;
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  google::AddLogSink(sink_.get());
}

LogTap::~LogTap() {
  google::RemoveLogSink(sink_.get());
  FLAGS_logtostderr = true;
}

}  // namespace closeranks::telemetry
