// The files that a run leaves in its report folder, and what stands in them. Writers (the workers,
// the supervisor) and readers (report/, tests) both go by this page.
//
//   events.<member>.<incarnation8>.jsonl  one for each worker process: start world transfer commit
//                                         metric end
//   events.supervisor.jsonl               the launcher's: run worker_started kill worker_exit end
//   ledger.<member>.<incarnation8>.txt    one for each worker process: the samples of every stable
//   step
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
// line.
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
#include "telemetry/event_log.h"

namespace closeranks::telemetry {

// Paths in the report folder `folder`.
std::string WorkerEventsPath(const std::string& folder, const MemberProcess& process);
std::string SupervisorEventsPath(const std::string& folder);
std::string LedgerPath(const std::string& folder, const MemberProcess& process);

// Makes the folder, and removes from it what an earlier run left: files with the names above, and
// report.json and report.html. Leaves everything else. To be called once, by the launcher, before
// the first worker starts.
Status PrepareReportFolder(Files& files, const std::string& folder);

// A line of a ledger, with its newline.
std::string LedgerLine(StepNumber step, Generation generation, int epoch,
                       std::span<const int64_t> samples);

// Each is written with log.Write(ToRecord(event)).

// "start": this process knows what it will train. Before it joins.
struct StartEvent {
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
};

// "world": this process can use a new world. Written by each of its workers.
struct WorldEvent {
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
};

// "transfer": a joiner received its state.
struct TransferEvent {
  Generation gen = 0;
  MemberId member = -1;  // the joiner
  int64_t bytes = 0;
  TimePoint t_begin;
  TimePoint t_end;
};

// "commit": a step was applied here. Repeated by each worker, and after a failure for a step that
// had to be replayed; of several generations the greatest counts.
struct CommitEvent {
  StepNumber step = 0;
  int epoch = 0;
  double loss = 0;      // mean over the whole batch
  Generation gen = 0;   // in which it was reduced
  int size = 0;         // of that generation's world
  int64_t samples = 0;  // in the whole batch of this step
};

// "metric": a result that has a name, such as test_accuracy (from 0 to 1).
struct MetricEvent {
  std::string name;
  double value = 0;
};

// "end": this worker is done.
struct EndEvent {
  StepNumber step = 0;
  std::string weights_sha256;  // hexadecimal
  double seconds = 0;          // from its first world to now
};

// "run": the launcher begins.
struct RunEvent {
  std::string command;
  int ranks = 0;
};

// "worker_started": a process was started for this member.
struct WorkerStartedEvent {
  MemberId member = -1;
  std::string incarnation;  // empty when the worker draws it itself
  int pid = 0;
};

// "kill": the launcher is about to kill this worker on purpose.
struct KillEvent {
  MemberId member = -1;
  int rank = -1;        // at that moment
  StepNumber step = 0;  // the one that it was in
  TimePoint t;          // right before kill(); written as the event's own "t"
};

// "worker_exit": a process was reaped.
struct WorkerExitEvent {
  MemberId member = -1;
  std::string incarnation;  // as in worker_started
  int code = -1;            // the exit code, or -1
  int signal = 0;           // the signal that ended it, or 0
  // These three aren't in the records of older versions.
  std::string ended_for;  // why the launcher ended it; empty: it didn't, or by a "kill"
  TimePoint t_lost;       // it was ended, or first seen to be dying
  TimePoint t_heard;      // it gave its last sign of life; none unless it was ended for silence
};

// "end" in the supervisor's file.
struct SupervisorEndEvent {
  int exit_code = 0;
};

Record ToRecord(const StartEvent& event);
Record ToRecord(const WorldEvent& event);
Record ToRecord(const TransferEvent& event);
Record ToRecord(const CommitEvent& event);
Record ToRecord(const MetricEvent& event);
Record ToRecord(const EndEvent& event);
Record ToRecord(const RunEvent& event);
Record ToRecord(const WorkerStartedEvent& event);
// To be written with log.Write(ToRecord(event), event.t).
Record ToRecord(const KillEvent& event);
Record ToRecord(const WorkerExitEvent& event);
Record ToRecord(const SupervisorEndEvent& event);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_RECORDS_H_
