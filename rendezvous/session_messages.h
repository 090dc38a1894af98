// What a worker and its agent say to each other, over the socket that the worker was started with.
//
// Plain values. Decoding survives any bytes.
#ifndef CLOSERANKS_RENDEZVOUS_SESSION_MESSAGES_H_
#define CLOSERANKS_RENDEZVOUS_SESSION_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/member.h"
#include "base/status.h"
#include "rendezvous/credentials.h"
#include "rendezvous/decision.h"

namespace closeranks::rendezvous {

// --- from the agent ---

// The first message: who the worker is, and what it needs to know of the job.
struct Welcome {
  std::string job;  // the job's name: only processes of the same job talk to each other
  Security security;
  MemberId member = -1;
  int starting_members = 1;
  // So many of a world's workers compute, the lowest; the others hold the state and stand by. 0:
  // all.
  int most_computing = 0;
  std::string data_address;    // where other workers' connections for this one arrive ("host:port")
  bool pauses_are_ok = false;  // collectives have no limit: a worker may be in a debugger
  bool progress_is_wanted = false;  // else the agent hears no Progress: two messages a step
  bool operator==(const Welcome&) const = default;
};

// Stop applying and acknowledging for good; answer with Frozen.
struct Freeze {
  Generation generation = 0;  // the one being prepared
  bool operator==(const Freeze&) const = default;
};

struct Install {
  DecisionRef decision;
};

// Nothing more will come. `exit_code` kOk: the job's end was agreed on.
struct Ended {
  ExitCode exit_code = ExitCode::kOk;
  std::string reason;
  WorkerState state;  // of a job that is done: what it came to
  bool operator==(const Ended&) const = default;
};

// A connection that arrived at the pod's port for this worker; its descriptor comes with the
// message.
struct DataConnection {
  MemberId from = -1;  // as it claims; its handshake is still to come
  bool operator==(const DataConnection&) const = default;
};

// Leave in good order: finish the step, say Leaving. Within `grace`, at the end of which the worker
// is ended: a step that takes longer is left to the others before.
struct Leave {
  Duration grace{};
  bool operator==(const Leave&) const = default;
};

// Another member's worker is lost, or about to be, and why: for people.
struct Lost {
  MemberId member = -1;
  std::string cause;
  bool is_said = false;  // in its own words the cause stands in this host's log already
  bool operator==(const Lost&) const = default;
};

// What another member's worker, or this one, has noticed about itself: for people.
struct Noticed {
  MemberId member = -1;
  std::string text;
  bool operator==(const Noticed&) const = default;
};

// The answer to Failing.
struct FailingHeard {
  MemberId first = -1;  // of this host, that failed so for good, maybe this one; -1: none
  bool operator==(const FailingHeard&) const = default;
};

using AgentMessage = std::variant<Welcome, Freeze, Install, Ended, DataConnection, Leave, Lost,
                                  Noticed, FailingHeard>;

// --- from the worker ---

// The first message.
struct Hello {
  Incarnation worker;
  int64_t pid = 0;
  bool operator==(const Hello&) const = default;
};

// It wants to be listed.
struct Ready {
  std::string card;
  Terms terms;
  std::optional<WorkerState> state;
  bool operator==(const Ready&) const = default;
};

struct Frozen {
  Generation generation = 0;  // as in Freeze
  std::optional<WorkerState> state;
  bool operator==(const Frozen&) const = default;
};

// A link to a peer, or an operation that only a new generation can mend, failed.
struct Failure {
  Generation generation = 0;  // in which it happened
  MemberProcess suspect;      // member -1: nobody in particular
  std::string reason;
  bool timed_out = false;  // what failed is an operation that took too long
  bool operator==(const Failure&) const = default;
};

// It applied the job's last step.
struct Done {
  bool operator==(const Done&) const = default;
};

// Where it is wanted: one at the start and one at the end of each step.
struct Progress {
  StepNumber step = 0;
  StepNumber steps = 0;  // of the whole run
  int32_t epoch = 0;
  bool committed = false;  // or just begun
  double loss = 0.0;       // of the last committed step
  int64_t samples = 0;     // of the step, over all ranks
  int32_t ranks = 0;
  int32_t rank = -1;
  bool operator==(const Progress&) const = default;
};

// The end of a pipe comes with it, whose other end closes when the worker dies
// (elastic/lifeline.h).
struct LifelineEnd {
  bool operator==(const LifelineEnd&) const = default;
};

// Its last words: it applies and acknowledges nothing any more, and ends with an exit code of its
// own.
struct Goodbye {
  bool operator==(const Goodbye&) const = default;
};

// It has the resume step of the world that it was told to install, and steps on.
struct Entered {
  Generation generation = 0;
  bool operator==(const Entered&) const = default;
};

// It was told to end, and won't be needed again. `now`: it has nothing more to hand over, or no
// time left for it, and is to be voted out; before, it finishes its step.
struct Leaving {
  bool now = false;
  bool operator==(const Leaving&) const = default;
};

// It is about to end, because of this.
struct Failing {
  std::string cause;
  bool is_final = false;  // no restart mends it
  bool operator==(const Failing&) const = default;
};

// The memory of its flight recorder comes with it (telemetry/flight_recorder.h).
struct FlightMemory {
  bool operator==(const FlightMemory&) const = default;
};

// It goes on, but something about it is worth telling to every rank: that its training thread is
// slow, or hangs; the lines after the first are then a stack.
struct Notice {
  std::string text;
  bool hangs = false;
  bool operator==(const Notice&) const = default;
};

using WorkerMessage = std::variant<Hello, Ready, Frozen, Failure, Done, Progress, LifelineEnd,
                                   Goodbye, Entered, Leaving, Failing, FlightMemory, Notice>;

std::string Encode(const AgentMessage& message);
std::string Encode(const WorkerMessage& message);
// kInvalidArgument for bytes that the other side's Encode didn't write.
Result<AgentMessage> DecodeAgentMessage(std::string_view bytes);
Result<WorkerMessage> DecodeWorkerMessage(std::string_view bytes);

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_SESSION_MESSAGES_H_
