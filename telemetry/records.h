// The files that a run leaves in its report folder, and what stands in them. Writers (the workers,
// the supervisor) and readers (report/, tests) both go by this page.
//
//   events.<member>.<incarnation8>.jsonl  one for each worker process: start world transfer commit
//                                         metric slow end
//   events.supervisor.jsonl               the launcher's: run worker_started kill worker_exit
//                                         suspected end
//   ledger.<member>.<incarnation8>.txt    one for each worker process: the samples of every
//                                         stable step
//   flight.<member>.<incarnation8>.bin    a worker's flight record (flight_recorder.h), as it was
//                                         when the worker or another host was lost, when something
//                                         hung, when the job held, or when SIGUSR2 came
//   notices.<member>.<incarnation8>.txt   what every rank was told of a worker that goes on, such
//                                         as the stack at which it is stuck
//   run.lock                              held by the launcher while its run goes on
//   run.lineage                           of which the newest ledgers are
//
// A folder is one launcher's: where a job has several, each has a folder of its own.
//
// An event is an object on a line: "t" (when, int64 nanoseconds of the monotonic clock that all
// processes of the host share), "event" (its name), then the fields of the struct below with the
// same names. A field that is a TimePoint is written like "t", 0 for TimePoint{}. Readers ignore
// events and fields that they don't know. A last line without its newline is torn (the writer was
// killed in the middle of it) and ignored; any other line that isn't as described is an error.
//
// A ledger line is `step generation epoch id id id ...`, decimal, one space between them: every
// sample of that step's whole batch (not just this worker's part), written once the step is stable.
// The generation is the one that reduced the step, so all ledgers that hold a step have the same
// line. Where there are checkpoints, a line `lineage NUMBER of PARENT from STEP` stands before the
// steps of a ledger: of all ledgers in a folder those of the greatest number count, of its parent
// the steps up to STEP, and so on; all others never happened.
//
// Steps count from 1 for the life of the job, epochs from 1, ranks and members from 0.
#ifndef CLOSERANKS_TELEMETRY_RECORDS_H_
#define CLOSERANKS_TELEMETRY_RECORDS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "telemetry/event_log.h"

namespace closeranks::telemetry {

// Paths in the report folder `folder`.
std::string WorkerEventsPath(const std::string& folder, const MemberProcess& process);
std::string SupervisorEventsPath(const std::string& folder);
std::string LedgerPath(const std::string& folder, const MemberProcess& process);
std::string FlightPath(const std::string& folder, const MemberProcess& process);
std::string NoticesPath(const std::string& folder, const MemberProcess& process);

struct ReportFolder {
  UniqueFd lock;  // of run.lock, to be kept until the last worker has ended
  std::vector<std::string> earlier_ledgers;  // paths
};

// Makes the folder, takes its run.lock, and removes what an earlier start left: files with the
// names above, but for its ledgers, and where there were any, what was made from them (report.json
// and report.html). Leaves everything else. To be called once, by the launcher, before the first
// worker starts. kAborted, and nothing is removed, while another run has the folder.
Result<ReportFolder> PrepareReportFolder(Files& files, const std::string& folder);

// To be called once it is known which lineage this start takes part in. The earlier ledgers stay
// where they are of the same one, which it joined again; and with `keep_ledgers`, as for a further
// start of a run. Else they are removed.
Status SettleEarlierLedgers(Files& files, const std::string& folder,
                            const std::vector<std::string>& earlier_ledgers,
                            const Incarnation& lineage, bool keep_ledgers);

// A line of a ledger, with its newline.
std::string LedgerLine(StepNumber step, Generation generation, int epoch,
                       std::span<const int64_t> samples);

// The line of a lineage, with its newline.
std::string LineageLine(int64_t number, int64_t parent, StepNumber from_step);

// Each is written with log.Write(ToRecord(event)). What stands in a line is said once, for writing
// and for reading: kName, and ForEachField, which calls field(name, member) for each.

// "start": this process knows what it will train. Before it joins.
struct StartEvent {
  static constexpr char kName[] = "start";
  MemberId member = -1;
  std::string incarnation;  // 32 hexadecimal digits
  std::string mode;         // "fast" or "exact"
  int epochs = 0;
  int64_t batch = 0;     // samples in a step, over all ranks
  int64_t samples = 0;   // samples in an epoch
  StepNumber steps = 0;  // in the whole run
  uint64_t seed = 0;
  int logical_shards = 0;  // 0 in fast mode
  int ranks = 0;           // workers that the run was asked to start with
  static void ForEachField(auto& event, auto field) {
    field("member", event.member);
    field("incarnation", event.incarnation);
    field("mode", event.mode);
    field("epochs", event.epochs);
    field("batch", event.batch);
    field("samples", event.samples);
    field("steps", event.steps);
    field("seed", event.seed);
    field("logical_shards", event.logical_shards);
    field("ranks", event.ranks);
  }
  bool operator==(const StartEvent&) const = default;
};

// "world": this process can use a new world. Written by each of its workers.
struct WorldEvent {
  static constexpr char kName[] = "world";
  Generation gen = 0;
  int rank = -1;  // of this process in this world
  int size = 0;
  std::vector<int32_t> members;  // of this world, by rank
  // Who is gone and who is new since the last world that this process wrote a "world" for. For a
  // joiner the list of the lost is empty. In the first world of a run nobody joined.
  std::vector<int32_t> lost;  // their ranks in that last world
  std::vector<int32_t> lost_members;
  std::vector<int32_t> joined_members;
  StepNumber resume_step = 0;  // the greatest step that is applied when it begins
  TimePoint t_detected;        // this process noticed the loss; none for a join or a leave
  TimePoint t_decided;         // it learned the decision
  TimePoint t_rewired;         // collectives work in this world
  TimePoint t_asked;           // the training thread had no more to do in the world before
  // The state went to the joiners of this world, and this process took part; none: to nobody.
  TimePoint t_transfer_begin;
  TimePoint t_transfer_end;
  TimePoint t_entered;  // records are exchanged and who was behind has caught up: it may compute
  int spares = 0;       // the last so many ranks stand by
  static void ForEachField(auto& event, auto field) {
    field("gen", event.gen);
    field("rank", event.rank);
    field("size", event.size);
    field("spares", event.spares);
    field("members", event.members);
    field("lost", event.lost);
    field("lost_members", event.lost_members);
    field("joined_members", event.joined_members);
    field("resume_step", event.resume_step);
    field("t_detected", event.t_detected);
    field("t_decided", event.t_decided);
    field("t_rewired", event.t_rewired);
    field("t_asked", event.t_asked);
    field("t_transfer_begin", event.t_transfer_begin);
    field("t_transfer_end", event.t_transfer_end);
    field("t_entered", event.t_entered);
  }
  bool operator==(const WorldEvent&) const = default;
};

// "transfer": a joiner received its state.
struct TransferEvent {
  static constexpr char kName[] = "transfer";
  Generation gen = 0;
  MemberId member = -1;  // the joiner
  int64_t bytes = 0;
  TimePoint t_begin;
  TimePoint t_end;
  static void ForEachField(auto& event, auto field) {
    field("gen", event.gen);
    field("member", event.member);
    field("bytes", event.bytes);
    field("t_begin", event.t_begin);
    field("t_end", event.t_end);
  }
  bool operator==(const TransferEvent&) const = default;
};

// "commit": a step was applied here. Repeated by each worker, and after a failure for a step that
// had to be replayed; of several generations the greatest counts.
struct CommitEvent {
  static constexpr char kName[] = "commit";
  StepNumber step = 0;
  int epoch = 0;
  double loss = 0;      // mean over the whole batch
  Generation gen = 0;   // in which it was reduced
  int size = 0;         // of that generation's world
  int64_t samples = 0;  // in the whole batch of this step
  static void ForEachField(auto& event, auto field) {
    field("step", event.step);
    field("epoch", event.epoch);
    field("loss", event.loss);
    field("gen", event.gen);
    field("size", event.size);
    field("samples", event.samples);
  }
  bool operator==(const CommitEvent&) const = default;
};

// "metric": a result that has a name, such as test_accuracy (from 0 to 1).
struct MetricEvent {
  static constexpr char kName[] = "metric";
  std::string name;
  double value = 0;
  static void ForEachField(auto& event, auto field) {
    field("name", event.name);
    field("value", event.value);
  }
  bool operator==(const MetricEvent&) const = default;
};

// "slow": this worker is persistently slower than the others.
struct SlowEvent {
  static constexpr char kName[] = "slow";
  StepNumber step = 0;  // when that was found
  double factor = 0;    // so many times as long as the others it computes for a sample
  static void ForEachField(auto& event, auto field) {
    field("step", event.step);
    field("factor", event.factor);
  }
  bool operator==(const SlowEvent&) const = default;
};

// "end": this worker is done.
struct EndEvent {
  static constexpr char kName[] = "end";
  StepNumber step = 0;
  std::string weights_sha256;  // hexadecimal
  double seconds = 0;          // from its first world to now
  static void ForEachField(auto& event, auto field) {
    field("step", event.step);
    field("weights_sha256", event.weights_sha256);
    field("seconds", event.seconds);
  }
  bool operator==(const EndEvent&) const = default;
};

// "run": the launcher begins.
struct RunEvent {
  static constexpr char kName[] = "run";
  std::string command;
  int ranks = 0;
  static void ForEachField(auto& event, auto field) {
    field("command", event.command);
    field("ranks", event.ranks);
  }
  bool operator==(const RunEvent&) const = default;
};

// "worker_started": a process was started for this member.
struct WorkerStartedEvent {
  static constexpr char kName[] = "worker_started";
  MemberId member = -1;
  std::string incarnation;  // empty when the worker draws it itself
  int pid = 0;
  static void ForEachField(auto& event, auto field) {
    field("member", event.member);
    field("incarnation", event.incarnation);
    field("pid", event.pid);
  }
  bool operator==(const WorkerStartedEvent&) const = default;
};

// "kill": the launcher is about to kill this worker on purpose. To be written with
// log.Write(ToRecord(event), event.t).
struct KillEvent {
  static constexpr char kName[] = "kill";
  MemberId member = -1;
  int rank = -1;        // at that moment
  StepNumber step = 0;  // the one that it was in
  TimePoint t;          // right before kill(); written as the event's own "t"
  static void ForEachField(auto& event, auto field) {
    field("member", event.member);
    field("rank", event.rank);
    field("step", event.step);
  }
  bool operator==(const KillEvent&) const = default;
};

// "worker_exit": a process was reaped.
struct WorkerExitEvent {
  static constexpr char kName[] = "worker_exit";
  MemberId member = -1;
  std::string incarnation;  // as in worker_started
  int code = -1;            // the exit code, or -1
  int signal = 0;           // the signal that ended it, or 0
  std::string ended_for;    // why the launcher ended it; empty: it didn't, or by a "kill"
  std::string cause;        // what the others were told of its loss; empty: it was none
  TimePoint t_lost;         // it was ended, or first seen to be dying
  TimePoint t_heard;        // it gave its last sign of life; none unless it was ended for silence
  static void ForEachField(auto& event, auto field) {
    field("member", event.member);
    field("incarnation", event.incarnation);
    field("code", event.code);
    field("signal", event.signal);
    field("ended_for", event.ended_for);
    field("cause", event.cause);
    field("t_lost", event.t_lost);
    field("t_heard", event.t_heard);
  }
  bool operator==(const WorkerExitEvent&) const = default;
};

// "suspected": for its silence another supervisor counts as unreachable.
struct SuspectedEvent {
  static constexpr char kName[] = "suspected";
  MemberId by = -1;      // of this host
  MemberId member = -1;  // whose supervisor is silent
  TimePoint t_heard;     // last
  static void ForEachField(auto& event, auto field) {
    field("by", event.by);
    field("member", event.member);
    field("t_heard", event.t_heard);
  }
  bool operator==(const SuspectedEvent&) const = default;
};

// "end" in the supervisor's file.
struct SupervisorEndEvent {
  static constexpr char kName[] = "end";
  int exit_code = 0;
  double longest_silence_ms = 0;  // of another supervisor that was heard again in time
  static void ForEachField(auto& event, auto field) {
    field("exit_code", event.exit_code);
    field("longest_silence_ms", event.longest_silence_ms);
  }
  bool operator==(const SupervisorEndEvent&) const = default;
};

template <typename Event>
Record ToRecord(const Event& event) {
  Record record(Event::kName);
  Event::ForEachField(event, [&](const char* name, const auto& value) { record.Set(name, value); });
  return record;
}

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_RECORDS_H_
