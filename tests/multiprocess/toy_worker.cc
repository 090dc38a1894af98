// A training program without torch, for tests of whole jobs: elastic/'s worker and step loop around
// a list of numbers, and faults that strike it at a named point.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "closeranks/environment.h"
#include "elastic/checkpoint/checkpointer.h"
#include "elastic/event_writer.h"
#include "elastic/leave_signal.h"
#include "elastic/toy_replica.h"
#include "elastic/worker.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "net/background.h"
#include "net/system_socket.h"
#include "telemetry/event_log.h"
#include "telemetry/log_prefix.h"
#include "telemetry/records.h"

DEFINE_int32(samples, 120, "in an epoch");
DEFINE_int32(batch, 12, "samples in a step");
DEFINE_int32(epochs, 2, "passes over the samples");
DEFINE_uint64(seed, 1, "of the weights");
DEFINE_int32(shards, 0, "logical shards of exact mode; 0: fast mode");
DEFINE_bool(tcp, false, "no shared memory");
DEFINE_double(agent_timeout, 30, "seconds after which a silent supervisor is given up");
DEFINE_double(step_timeout, 0, "seconds; 0: never");
DEFINE_double(timeout, 60, "seconds, of a collective");
DEFINE_string(report, "", "folder for events and ledgers");
DEFINE_string(checkpoint_folder, "", "");
DEFINE_uint64(checkpoint_every, 0, "steps");
DEFINE_int32(keep_checkpoints, 2, "");
DEFINE_double(checkpoint_timeout, 600, "seconds");
DEFINE_int32(disk_hangs, -1, "the member whose disk does nothing for a checkpoint");
DEFINE_bool(await_disk, false, "what a checkpoint has to write is written before the next step");
DEFINE_bool(resume, true, "go on from the newest checkpoint");
DEFINE_string(full_disk, "", "MEMBER,...: no room for the ledgers of these");
DEFINE_string(configuration, "", "what the handshake compares");
DEFINE_string(build, "", "what the handshake compares");
DEFINE_string(odd_one, "", "MEMBER:CONFIGURATION, of one member only");
DEFINE_bool(odd_later, false, "not of that member's first process");
DEFINE_uint64(hold_step, 0, "stay in this step until a world of --hold_size is connected");
DEFINE_int32(hold_size, 0, "see --hold_step");
DEFINE_uint64(pause_step, 0, "stay in this step until somebody writes to --pause_at");
DEFINE_string(pause_at, "", "a named pipe");
DEFINE_string(gate, "", "a named pipe: each step waits there until somebody opens it for writing");
DEFINE_string(end_at, "", "a named pipe: stay in the last step until somebody writes to it");
DEFINE_string(linger_at, "", "a named pipe: who finishes early ends when somebody writes to it");
DEFINE_int32(chatter, 0, "lines of 1000 bytes that are written at each commit");
DEFINE_uint64(audit_every, 0, "steps");
DEFINE_int32(dawdles, -1, "the member that takes 5 ms longer for each step");
DEFINE_int32(strays, -1, "the member whose weights become other ones in step 3");
DEFINE_bool(tells_when, false, "says when a fault strikes, in nanoseconds of the monotonic clock");
DEFINE_int32(tells_signals, -1, "the member that says when it gets SIGUSR1");
DEFINE_string(poison, "",
              "STEP:POSITION:ACTION:TIMES: so often whoever computes this position of this step's "
              "batch is struck by an action of --faults, but for those that only wait");
// Each strikes once in the run, but for "exit", which strikes every time but the first.
DEFINE_string(
    faults, "",
    "MEMBER:POINT:ACTION:STEP,...; points: start join ready world part apply save load commit "
    "end (the step of world is its generation, of the others without a step 0); "
    "actions: kill stop term exit hang finish quit say fail throw alloc check segv hog");

namespace closeranks {
namespace {

// The program ends well in the middle of it all, as far as it knows.
struct Finished {};

struct ToyFault {
  MemberId member = -1;
  std::string point;
  std::string action;
  StepNumber step = 0;
};

Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> words;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = std::min(text.find(separator, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

// Strikes this process when it comes to the point of a fault that is meant for it.
class Faults {
 public:
  Faults(MemberId self, Files& files) : self_(self), files_(files) {
    for (const std::string& text : Split(FLAGS_faults, ',')) {
      std::vector<std::string> words = Split(text, ':');
      CHECK_EQ(words.size(), 4u) << text;
      faults_.push_back({std::stoi(words[0]), words[1], words[2],
                         static_cast<StepNumber>(std::stoull(words[3]))});
    }
  }

  void At(const std::string& point, StepNumber step) {
    for (size_t i = 0; i < faults_.size(); ++i) {
      const ToyFault& fault = faults_[i];
      if (fault.member != self_ || fault.point != point || fault.step != step) continue;
      std::string mark = FLAGS_report + "/fault." + std::to_string(i);
      bool is_first = files_.CreateExclusively(mark, "").ok();
      if (!is_first && fault.action == "exit") _exit(7);
      if (!is_first) continue;
      if (FLAGS_tells_when) {
        const int64_t now = SystemClock().Now().time_since_epoch().count();
        std::fprintf(stderr, "strikes at %lld\n", static_cast<long long>(now));
      }
      if (fault.action == "say") std::fprintf(stderr, "is at %s\n", point.c_str());
      Strike(fault.action);
    }
  }

  void AtPart(StepNumber step, const elastic::Part& part) {
    At("part", step);
    const std::vector<std::string> poison = Split(FLAGS_poison, ':');
    if (poison.empty()) return;
    CHECK_EQ(poison.size(), 4u) << FLAGS_poison;
    const int position = std::stoi(poison[1]);
    if (step != std::stoull(poison[0]) || position < part.begin || position >= part.end) return;
    for (int i = 0; i < std::stoi(poison[3]); ++i) {
      const std::string mark = FLAGS_report + "/poison." + std::to_string(i);
      if (files_.CreateExclusively(mark, "").ok()) return Strike(poison[2]);
    }
  }

 private:
  static void Strike(const std::string& action) {
    if (action == "quit") _exit(0);
    if (action == "fail") _exit(7);
    if (action == "finish") throw Finished();
    if (action == "kill") raise(SIGKILL);
    if (action == "stop") raise(SIGSTOP);
    if (action == "term") kill(getpid(), SIGTERM);
    if (action == "throw") throw std::runtime_error("a bad sample");
    // What a failed allocation is, but under a sanitizer, whose allocator ends the process.
    if (action == "alloc") throw std::bad_alloc();
    CHECK(action != "check") << "a bad sample";
    if (action == "segv") {
      signal(SIGSEGV, SIG_DFL);  // a sanitizer would make an exit of it
      raise(SIGSEGV);
    }
    if (action == "hog") {  // more than a group with a limit has, and far from all there is
      for (int i = 0; i < 128; ++i) std::memset(std::malloc(16 << 20), 1, 16 << 20);
      _exit(3);
    }
    if (action == "hang") {
      std::fprintf(stderr, "hangs\n");
      while (true) pause();
    }
  }

  MemberId self_;
  Files& files_;
  std::vector<ToyFault> faults_;
};

// Keeps the training thread in a step until the world is large enough, as slow training would.
class Hold {
 public:
  void OnWorld(int size) {
    std::lock_guard lock(mutex_);
    size_ = size;
    changed_.notify_all();
  }
  void At(StepNumber step) {
    if (step != FLAGS_hold_step) return;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return size_ >= FLAGS_hold_size; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int size_ = 0;
};

class FaultyReplica final : public elastic::ToyReplica {
 public:
  FaultyReplica(Faults& faults, Hold& hold, MemberId self, StepNumber steps)
      : ToyReplica(FLAGS_seed, FLAGS_shards),
        faults_(faults),
        hold_(hold),
        self_(self),
        steps_(steps) {}

  void BeginPart(StepNumber step, const elastic::Part& part, bool last) override {
    faults_.AtPart(step, part);
    hold_.At(step);
    if (self_ == FLAGS_dawdles) usleep(5000);
    // Opening it takes until the other side opens it.
    if (step == FLAGS_pause_step) {
      std::fprintf(stderr, "pauses\n");
      UniqueFd(open(FLAGS_pause_at.c_str(), O_RDONLY | O_CLOEXEC));
    }
    if (!FLAGS_gate.empty()) UniqueFd(open(FLAGS_gate.c_str(), O_RDONLY | O_CLOEXEC));
    if (step == steps_ && !FLAGS_end_at.empty()) {
      UniqueFd(open(FLAGS_end_at.c_str(), O_RDONLY | O_CLOEXEC));
    }
    ToyReplica::BeginPart(step, part, last);
  }
  void Apply(StepNumber step) override {
    faults_.At("apply", step);
    ToyReplica::Apply(step);
    if (step == 3 && self_ == FLAGS_strays) ToyReplica::Apply(step);
  }
  std::vector<elastic::Piece> Pieces() override {
    faults_.At("save", 0);
    return ToyReplica::Pieces();
  }
  Result<std::function<void()>> PrepareLoad(std::span<const elastic::Piece> pieces) override {
    faults_.At("load", 0);
    return ToyReplica::PrepareLoad(pieces);
  }

 private:
  Faults& faults_;
  Hold& hold_;
  MemberId self_;
  StepNumber steps_;
};

class Observer final : public elastic::EventWriter {
 public:
  Observer(elastic::Worker& worker, telemetry::EventLog& events, Faults& faults, StepNumber steps,
           net::Background& background)
      : EventWriter(events),
        worker_(worker),
        faults_(faults),
        steps_(steps),
        background_(background) {}

  void OnWorld(const elastic::ConnectedWorld& connected, const Entry& entry) override {
    EventWriter::OnWorld(connected, entry);
    faults_.At("world", connected.world.generation);
  }
  void OnStepBegin(const StepInfo& info) override {
    while (FLAGS_await_disk && !background_.AwaitIdle()) {
    }
    Tell(info, false);
  }
  void OnCommit(const StepInfo& info) override {
    EventWriter::OnCommit(info);
    Tell(info, true);
    for (int i = 0; i < FLAGS_chatter; ++i) {
      std::printf("%s\n", std::string(999, 'x').c_str());
    }
    faults_.At("commit", info.step);
  }

 private:
  void Tell(const StepInfo& info, bool committed) {
    worker_.ReportProgress({info.step, steps_, info.epoch, committed, info.loss, info.samples,
                            info.world->world.size() - info.world->spares, info.world->rank});
  }

  elastic::Worker& worker_;
  Faults& faults_;
  StepNumber steps_;
  net::Background& background_;
};

std::atomic<bool> checkpoint_asked{false};

void TellSignal(int) {
  checkpoint_asked = true;
  const std::string_view text = "got SIGUSR1\n";
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

Status Train(const Environment& environment, const elastic::LeaveSignal& leave_signal,
             ExitCode& exit_code) {
  SystemClock clock;
  SystemRandom random;
  // Never destroyed, as BackgroundThread says.
  static SystemFiles& files = *new SystemFiles;
  if (!environment.agent_fd.has_value()) return InvalidArgument("there is no supervisor");
  Faults faults(environment.member.value_or(-1), files);
  if (environment.member == FLAGS_tells_signals) std::signal(SIGUSR1, TellSignal);
  ASSIGN_OR_RETURN(UniqueFd agent, TakeAgentSocket(environment));
  faults.At("start", 0);
  elastic::Worker::Options options;
  options.shared_memory = !FLAGS_tcp;
  options.build = FLAGS_build;
  options.leave_signal = &leave_signal;
  options.agent_timeout = Seconds(FLAGS_agent_timeout);
  options.step_timeout = Seconds(FLAGS_step_timeout);
  options.communicator.timeout = Seconds(FLAGS_timeout);
  Hold hold;
  options.on_world = [&hold](const elastic::ConnectedWorld& world) {
    hold.OnWorld(world.world.size());
  };
  elastic::SystemPlatform platform(clock, random);
  ASSIGN_OR_RETURN(std::unique_ptr<elastic::Worker> worker,
                   elastic::Worker::Start(std::make_unique<net::SystemSocket>(std::move(agent)),
                                          std::move(options), platform));
  auto events = std::make_unique<telemetry::EventLog>();
  elastic::Ledger ledger;
  if (!FLAGS_report.empty()) {
    ASSIGN_OR_RETURN(
        events, telemetry::EventLog::Open(
                    files, telemetry::WorkerEventsPath(FLAGS_report, worker->process()), clock));
    std::string path = telemetry::LedgerPath(FLAGS_report, worker->process());
    for (const std::string& member : Split(FLAGS_full_disk, ',')) {
      if (std::stoi(member) == worker->process().member) path = "/dev/full";
    }
    ASSIGN_OR_RETURN(ledger, elastic::Ledger::Open(files, path));
  }
  elastic::ToyBatches batches(FLAGS_samples, FLAGS_batch, FLAGS_epochs);
  FaultyReplica replica(faults, hold, worker->process().member, batches.steps());
  net::BackgroundThread background(clock, "checkpoint", Seconds(FLAGS_checkpoint_timeout));
  if (environment.member == FLAGS_disk_hangs) background.Start([] { pause(); });
  Observer observer(*worker, *events, faults, batches.steps(), background);
  elastic::StepLoop::Options loop_options;
  loop_options.logical_shards = FLAGS_shards;
  loop_options.report_failure = [&](Generation generation, const Status& why) {
    worker->ReportFailure(generation, why);
  };
  loop_options.flight = &worker->flight();
  loop_options.report_done = [&](rendezvous::WorkerState) { worker->ReportDone(); };
  loop_options.report_entered = [&](Generation generation) { worker->ReportEntered(generation); };
  loop_options.leaves = [&] { return worker->leaves(); };
  loop_options.audit_every = FLAGS_audit_every;
  loop_options.report_slow = [&](StepNumber step, double factor) {
    worker->ReportSlow(step, factor);
  };
  loop_options.report_leaving = [&] { worker->ReportLeaving(); };
  elastic::Checkpointer checkpointer(
      elastic::CheckpointStore(files, FLAGS_checkpoint_folder), background, clock,
      {.every = FLAGS_checkpoint_every,
       .keep = FLAGS_keep_checkpoints,
       .timeout = Seconds(FLAGS_checkpoint_timeout),
       .resume = {FLAGS_resume ? elastic::Resume::Kind::kNewest : elastic::Resume::Kind::kNothing},
       .run = "seed=" + std::to_string(FLAGS_seed) + " batch=" + std::to_string(FLAGS_batch),
       .asked = [] { return checkpoint_asked.exchange(false); }});
  if (!FLAGS_checkpoint_folder.empty()) loop_options.checkpointer = &checkpointer;
  elastic::StepLoop loop(worker->gate(), replica, batches, std::move(ledger), observer, clock,
                         std::move(loop_options));
  faults.At("join", 0);
  std::string configuration = FLAGS_configuration;
  std::vector<std::string> odd = Split(FLAGS_odd_one, ':');
  if (odd.size() == 2 && std::stoi(odd[0]) == worker->process().member) {
    bool is_first = files.CreateExclusively(FLAGS_report + "/odd", "").ok();
    if (!is_first || !FLAGS_odd_later) configuration = odd[1];
  }
  RETURN_IF_ERROR(worker->Join(configuration));
  faults.At("ready", 0);
  Status trained;
  try {
    trained = RunToyTraining(loop, replica);
  } catch (const std::exception& error) {
    worker->ReportFailing(std::string("threw ") + error.what(), /*is_final=*/false);
    // So that a test sees that it is told before this process is gone.
    if (!FLAGS_linger_at.empty()) UniqueFd(open(FLAGS_linger_at.c_str(), O_RDONLY | O_CLOEXEC));
    return Internal(error.what());
  }
  exit_code = worker->exit_code();
  events->Write(
      ToRecord(telemetry::MetricEvent{"computed", static_cast<double>(replica.computed())}));
  // Somebody else holds the result.
  if (trained.code() == StatusCode::kAborted) return OkStatus();
  if (trained.code() == StatusCode::kStaleGeneration && exit_code == ExitCode::kOk) {
    worker->ReportFailing("failed: " + trained.message(), /*is_final=*/true);
  }
  RETURN_IF_ERROR(trained);
  faults.At("end", 0);
  events->Write(ToRecord(telemetry::EndEvent{batches.steps(), replica.Hash(), 0.0}));
  std::printf("trained to %s\n", replica.Hash().c_str());
  return OkStatus();
}

int Main(int argc, char** argv) {
  static telemetry::LogPrefix prefix;
  telemetry::InitLogging(argv[0], prefix);
  google::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  ExitCode exit_code = ExitCode::kOk;
  auto environment = ReadEnvironment();
  Status status = environment.status();
  try {
    auto leave_signal = elastic::LeaveSignal::TakeOver();
    if (environment.ok()) status = leave_signal.status();
    if (status.ok()) status = Train(*environment, **leave_signal, exit_code);
  } catch (const Finished&) {
    if (!FLAGS_linger_at.empty()) UniqueFd(open(FLAGS_linger_at.c_str(), O_RDONLY | O_CLOEXEC));
    return 0;
  }
  if (status.ok()) return static_cast<int>(exit_code);
  LOG(ERROR) << status;
  return static_cast<int>(exit_code != ExitCode::kOk ? exit_code : ExitCodeFor(status));
}

}  // namespace
}  // namespace closeranks

int main(int argc, char** argv) { return closeranks::Main(argc, argv); }
