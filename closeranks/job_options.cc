#include "closeranks/job_options.h"

#include <charconv>
#include <filesystem>

#include "closeranks/command_line.h"
#include "gflags/gflags.h"

DEFINE_string(mode, "fast",
              "fast: the batch is divided evenly over the ranks; exact: over logical shards, so "
              "that the weights are the same bits whatever the number of ranks");
DEFINE_int32(logical_shards, 0,
             "exact mode: parts of every batch, 1 to 4096; the weights depend on it, so it doesn't "
             "follow the number of ranks, but how many may compute: by default it's 4 for each "
             "worker of --nnodes, where that is MIN:MAX of MAX, or of all hosts but --spares; 4096 "
             "where that is more");
static_assert(closeranks::kMostLogicalShards == 4096);  // as the text says
DEFINE_uint64(seed, 1, "of the initial weights, the order of samples and dropout");
DEFINE_int32(threads, 1, "CPU threads of libtorch in each worker");
DEFINE_string(report, "",
              "folder for events and ledgers; by default that of 'closeranks run', if it has one");
DEFINE_string(
    checkpoint_folder, "",
    "folder for checkpoints, the same on all hosts: the run can go on from them when it is "
    "started again; empty: none are written");
DEFINE_int64(checkpoint_every, 0,
             "steps from one checkpoint to the next; 0: only at the end of the run, and when "
             "SIGUSR1 asks for one");
DEFINE_int32(keep_checkpoints, 2, "how many stay; older ones are removed");
DEFINE_double(checkpoint_timeout, 600,
              "seconds after which a checkpoint that the disk still holds up is given up, and the "
              "run goes on, or ends, without it");
DEFINE_string(resume, "auto",
              "what a start of the run goes on from: auto (the newest checkpoint that is whole, or "
              "nothing where there is none), never, or the checkpoint of a STEP");
DEFINE_double(timeout, 60, "seconds after which a collective gives up");
DEFINE_double(step_timeout, 60,
              "seconds after which every rank's log says that this one is stuck in the program's "
              "own code, and where; nothing is ended for it, so by default it comes with the first "
              "--timeout of the others; after each time it's twice as long; 0: never");
DEFINE_int64(audit_every, 0,
             "steps after which the state of all ranks is compared, which ends the run where it "
             "differs; takes a pass over the state; 0: only the weights, at the end");
DEFINE_string(transport, "auto",
              "how ranks talk: auto (shm on one host, tcp between hosts), tcp, or shm, "
              "which refuses ranks on other hosts");

namespace closeranks {
namespace {

Status Unexpected(const std::string& flag, const std::string& value, const std::string& expected) {
  return InvalidArgument("--" + flag + "=" + value + ": expected " + expected);
}

Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

Status ReadCheckpointFlags(JobOptions& options) {
  options.checkpoint_folder = FLAGS_checkpoint_folder;
  if (options.checkpoint_folder.empty()) {
    for (const char* flag :
         {"checkpoint_every", "keep_checkpoints", "checkpoint_timeout", "resume"}) {
      if (google::GetCommandLineFlagInfoOrDie(flag).is_default) continue;
      return InvalidArgument("--" + std::string(flag) + " needs --checkpoint-folder");
    }
  }
  if (FLAGS_checkpoint_every < 0) {
    return Unexpected("checkpoint-every", std::to_string(FLAGS_checkpoint_every), "steps, or 0");
  }
  options.checkpoint_every = static_cast<StepNumber>(FLAGS_checkpoint_every);
  if (FLAGS_keep_checkpoints < 1) {
    return Unexpected("keep-checkpoints", std::to_string(FLAGS_keep_checkpoints), "1 or more");
  }
  options.keep_checkpoints = FLAGS_keep_checkpoints;
  if (!(FLAGS_checkpoint_timeout > 0)) {
    return Unexpected("checkpoint-timeout", std::to_string(FLAGS_checkpoint_timeout),
                      "seconds, more than 0");
  }
  options.checkpoint_timeout = Seconds(FLAGS_checkpoint_timeout);
  if (FLAGS_resume == "auto") return OkStatus();
  if (FLAGS_resume == "never") {
    options.resume.kind = elastic::Resume::Kind::kNothing;
    return OkStatus();
  }
  StepNumber& step = options.resume.step;
  const char* end = FLAGS_resume.data() + FLAGS_resume.size();
  auto parsed = std::from_chars(FLAGS_resume.data(), end, step);
  if (parsed.ec != std::errc() || parsed.ptr != end || step == 0) {
    return Unexpected("resume", FLAGS_resume, "auto, never or the step of a checkpoint");
  }
  options.resume.kind = elastic::Resume::Kind::kStep;
  return OkStatus();
}

}  // namespace

Result<JobOptions> ParseJobOptions(int* argc, char*** argv) {
  const std::string program = std::filesystem::path((*argv)[0]).filename();
  ParseCommandLine("[closeranks run -n RANKS --] " + program + " [FLAGS]", argc, argv);
  if (*argc > 1) {
    return InvalidArgument("'" + std::string((*argv)[1]) +
                           "' is no flag; flags start with -- (see --help)");
  }
  JobOptions options;
  if (FLAGS_mode != "fast" && FLAGS_mode != "exact") {
    return Unexpected("mode", FLAGS_mode, "fast or exact");
  }
  options.mode = FLAGS_mode == "exact" ? Mode::kExact : Mode::kFast;
  const bool is_given = !google::GetCommandLineFlagInfoOrDie("logical_shards").is_default;
  if (is_given && (FLAGS_logical_shards < 1 || FLAGS_logical_shards > kMostLogicalShards)) {
    return Unexpected("logical-shards", std::to_string(FLAGS_logical_shards),
                      "1 to " + std::to_string(kMostLogicalShards));
  }
  if (options.mode == Mode::kFast && is_given) {
    return InvalidArgument("--logical-shards needs --mode=exact, but the mode is fast");
  }
  if (options.mode == Mode::kExact) options.logical_shards = FLAGS_logical_shards;
  options.seed = FLAGS_seed;
  if (FLAGS_threads < 1 || FLAGS_threads > 1024) {
    return Unexpected("threads", std::to_string(FLAGS_threads), "1 to 1024");
  }
  options.threads = FLAGS_threads;
  if (!(FLAGS_timeout > 0) || FLAGS_timeout > 1e6) {
    return Unexpected("timeout", std::to_string(FLAGS_timeout), "seconds, more than 0");
  }
  options.timeout = Seconds(FLAGS_timeout);
  if (!(FLAGS_step_timeout >= 0) || FLAGS_step_timeout > 1e6) {
    return Unexpected("step-timeout", std::to_string(FLAGS_step_timeout), "seconds, or 0");
  }
  options.step_timeout = Seconds(FLAGS_step_timeout);
  if (FLAGS_audit_every < 0) {
    return Unexpected("audit-every", std::to_string(FLAGS_audit_every), "steps, or 0");
  }
  options.audit_every = static_cast<StepNumber>(FLAGS_audit_every);
  if (FLAGS_transport == "auto") {
    options.transport = TransportChoice::kAuto;
  } else if (FLAGS_transport == "tcp") {
    options.transport = TransportChoice::kTcp;
  } else if (FLAGS_transport == "shm") {
    options.transport = TransportChoice::kShm;
  } else {
    return Unexpected("transport", FLAGS_transport, "auto, shm or tcp");
  }
  RETURN_IF_ERROR(ReadCheckpointFlags(options));
  ASSIGN_OR_RETURN(options.environment, ReadEnvironment());
  options.report_folder =
      FLAGS_report.empty() ? options.environment.report_folder.value_or("") : FLAGS_report;
  return options;
}

}  // namespace closeranks
