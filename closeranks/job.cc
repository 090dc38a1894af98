#include "closeranks/job.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/random.h"
#include "closeranks/build_info.h"
#include "closeranks/error.h"
#include "closeranks/exception_text.h"
#include "closeranks/libtorch_settings.h"
#include "closeranks/own_agent.h"
#include "elastic/leave_signal.h"
#include "elastic/worker.h"
#include "glog/logging.h"
#include "net/system_socket.h"
#include "telemetry/log_prefix.h"
#include "telemetry/records.h"

namespace closeranks {

class Job::Impl {
 public:
  Impl(JobOptions options, const elastic::LeaveSignal& leave_signal, telemetry::LogPrefix& prefix)
      : options_(std::move(options)), prefix_(prefix) {
    SetUpLibtorch(options_.threads, options_.seed);
    elastic::Worker::Options worker;
    worker.shared_memory = options_.transport != TransportChoice::kTcp;
    worker.only_shared_memory = options_.transport == TransportChoice::kShm;
    worker.build = BuildName();
    worker.kernels = KernelName();
    worker.communicator.timeout = options_.timeout;
    worker.step_timeout = options_.step_timeout;
    worker.leave_signal = &leave_signal;
    worker.on_world = [this](const elastic::ConnectedWorld& world) {
      prefix_.generation = static_cast<int64_t>(world.world.generation);
      prefix_.rank = world.rank;
    };
    worker_ = ValueOrThrow(elastic::Worker::Start(AgentSocket(), std::move(worker), platform_));
    if (options_.mode == Mode::kExact && options_.logical_shards == 0) {
      const int most_computing = std::max(1, worker_->welcome().most_computing);
      options_.logical_shards = std::min(4 * most_computing, kMostLogicalShards);
    }
    const std::optional<MemberId>& named = options_.environment.member;
    if (named.has_value() && *named != worker_->process().member) {
      throw Error(InvalidArgument("the environment says that this is member " +
                                  std::to_string(*named) + ", its supervisor that it is " +
                                  std::to_string(worker_->process().member)));
    }
    if (!options_.report_folder.empty()) {
      OpenReport();
    }
  }

  const JobOptions& options() const { return options_; }
  elastic::Worker& worker() { return *worker_; }
  telemetry::EventLog& events() { return *events_; }
  telemetry::LogPrefix& log_prefix() { return prefix_; }
  const Clock& clock() const { return clock_; }
  int rank() const { return prefix_.rank; }

 private:
  void OpenReport() {
    Status made = files_.MakeFolder(options_.report_folder);
    auto events = telemetry::EventLog::Open(
        files_, telemetry::WorkerEventsPath(options_.report_folder, worker_->process()), clock_);
    if (made.ok() && events.ok()) {
      events_ = *std::move(events);
      return;
    }
    Status why = made.ok() ? events.status() : made;
    if (why.code() == StatusCode::kResourceExhausted) throw Error(why);
    throw Error(InvalidArgument("--report=" + options_.report_folder + ": " + why.message() +
                                "; choose a folder that can be written"));
  }

  // To the supervisor that started this process; without one to an agent of its own.
  std::unique_ptr<net::Socket> AgentSocket() {
    const Environment& environment = options_.environment;
    if (environment.agent_fd.has_value()) {
      return std::make_unique<net::SystemSocket>(ValueOrThrow(TakeAgentSocket(environment)));
    }
    Status alone =
        CheckAlone(environment, 1, "no supervisor started this process, so it trains alone",
                   "use 'closeranks run -n RANKS -- PROGRAM'");
    if (!alone.ok()) throw Error(alone);
    own_agent_ = ValueOrThrow(OwnAgent::Start(clock_, random_));
    return own_agent_->TakeWorkerEnd();
  }

  JobOptions options_;
  telemetry::LogPrefix& prefix_;
  SystemClock clock_;
  SystemRandom random_;
  elastic::SystemPlatform platform_{clock_, random_};
  SystemFiles files_;
  std::unique_ptr<telemetry::EventLog> events_ = std::make_unique<telemetry::EventLog>();
  std::unique_ptr<OwnAgent> own_agent_;  // null under a supervisor
  std::unique_ptr<elastic::Worker> worker_;
};

Job::Job(JobOptions options, const elastic::LeaveSignal& leave_signal, telemetry::LogPrefix& prefix)
    : impl_(std::make_unique<Impl>(std::move(options), leave_signal, prefix)) {}
Job::~Job() = default;

const JobOptions& Job::options() const { return impl_->options(); }
bool Job::IsFirst() const { return impl_->rank() == 0; }
elastic::Worker& Job::worker() { return impl_->worker(); }
telemetry::EventLog& Job::events() { return impl_->events(); }
telemetry::LogPrefix& Job::log_prefix() { return impl_->log_prefix(); }
const Clock& Job::clock() const { return impl_->clock(); }

void Job::Report(std::string_view name, double value) {
  impl_->events().Write(ToRecord(telemetry::MetricEvent{std::string(name), value}));
  LOG(INFO) << name << " = " << value;
}

int Run(int argc, char** argv, const std::function<void(Job&)>& program) {
  // What stands before log lines outlives whoever logs.
  static telemetry::LogPrefix prefix;
  telemetry::InitLogging(argv[0], prefix);
  std::unique_ptr<elastic::LeaveSignal> leave_signal;
  std::unique_ptr<Job> job;
  try {
    JobOptions options = ValueOrThrow(ParseJobOptions(&argc, &argv));
    leave_signal = ValueOrThrow(elastic::LeaveSignal::TakeOver());
    job = std::make_unique<Job>(std::move(options), *leave_signal, prefix);
    program(*job);
    return static_cast<int>(job->worker().exit_code());
  } catch (const Error& error) {
    const ExitCode ended = job == nullptr ? ExitCode::kOk : job->worker().exit_code();
    const ExitCode code = ended != ExitCode::kOk ? ended : error.exit_code();
    const bool in_order = code == ExitCode::kOk || code == ExitCode::kLeft;
    std::string text = error.status().message();
    // The others know why the job ended.
    if (job != nullptr && !in_order && ended == ExitCode::kOk) {
      const bool is_final = !FindExitCode(static_cast<int>(code)).restart;
      const auto first = job->worker().ReportFailing("failed: " + text, is_final);
      if (first.has_value()) text = "failed as member " + std::to_string(*first) + " did";
    }
    LOG_AT_LEVEL(in_order ? google::INFO : google::ERROR) << text;
    return static_cast<int>(code);
  } catch (const std::exception& error) {
    LOG(ERROR) << ExceptionText(error);
    if (job != nullptr) job->worker().ReportFailing("threw " + ExceptionText(error), false);
    return static_cast<int>(ExitCode::kError);
  }
}

}  // namespace closeranks
