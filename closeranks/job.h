// A process's part in a job: flags, logging, and the connection to the other members.
#ifndef CLOSERANKS_CLOSERANKS_JOB_H_
#define CLOSERANKS_CLOSERANKS_JOB_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/member.h"
#include "closeranks/job_options.h"
#include "telemetry/event_log.h"
#include "telemetry/log_prefix.h"

namespace closeranks {

namespace elastic {
class LeaveSignal;
class Worker;
}  // namespace elastic

// Made by Run. One for each process.
class Job {
 public:
  // Throws Error. `prefix` is kept up to date; both outlive the job.
  Job(JobOptions options, const elastic::LeaveSignal& leave_signal, telemetry::LogPrefix& prefix);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const JobOptions& options() const;
  // True on exactly one rank of the newest world that this process knows: who prints and evaluates.
  bool IsFirst() const;
  // Puts a result, such as "test_accuracy", into the report.
  void Report(std::string_view name, double value);

  // For the runtime's own layers.
  elastic::Worker& worker();
  telemetry::EventLog& events();
  telemetry::LogPrefix& log_prefix();
  const Clock& clock() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// What a training program's main returns: parses the flags, starts logging, joins the job, and
// calls `program`. An exception becomes one line of log and the exit code from base/exit_code.h.
// Meanwhile SIGTERM and SIGINT mean: leave the job in good order, once the step is finished. The
// same signal again ends the process.
int Run(int argc, char** argv, const std::function<void(Job&)>& program);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_JOB_H_
