// What a rank did last: a ring of its newest operations, what it is doing now, and the worlds that
// it was in. Always on; it is what tells who is missing, and since when, once something hangs.
//
// The ring lies in shared memory, which the worker hands to its supervisor: so the record of a rank
// that was killed, is stopped or hangs in user code is there all the same, as it was at that
// moment.
#ifndef CLOSERANKS_TELEMETRY_FLIGHT_RECORDER_H_
#define CLOSERANKS_TELEMETRY_FLIGHT_RECORDER_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/batch_part.h"
#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace closeranks::telemetry {

// What the training thread is about. The numbers stand in dumps: never reuse one.
enum class Activity : uint32_t {
  kStarting = 0,
  kAwaitingWorld = 1,  // for the others to agree on a generation
  kCatchingUp = 2,     // exchanging what each has, receiving what it lacks
  kComputing = 3,      // in the program's own code, on a part of the step
  kReducing = 4,
  kApplying = 5,  // the optimizer's update
  kBetween = 6,   // in the program's own code, after a commit
  kEnding = 7,    // it has applied the last step
};
// As a sentence goes on: "computes its part of".
std::string_view ActivityText(Activity activity);

// One collective of this rank.
struct FlightOperation {
  uint64_t number = 0;  // counts this process's operations from 1
  Generation generation = 0;
  uint64_t sequence = 0;                  // within the generation
  std::array<uint64_t, 2> fingerprint{};  // what it is: collectives/engine/call.h
  uint64_t bytes = 0;                     // of the caller's buffer
  TimePoint begun{};
  TimePoint ended{};  // TimePoint{}: under way
  StatusCode status = StatusCode::kOk;
  int suspected_rank = -1;  // who it ended for, where it ended with an error
};

struct FlightWorld {
  Generation generation = 0;
  int rank = -1;
  std::vector<MemberId> members;  // by rank; the first kMostMembers of them
  int size = 0;
  TimePoint entered{};

  static constexpr size_t kMostMembers = 250;
};

// A dump, read.
struct FlightRecord {
  MemberProcess process;
  TimePoint dumped{};
  Activity activity = Activity::kStarting;
  StepNumber step = 0;
  TimePoint active_since{};
  std::vector<FlightWorld> worlds;          // the oldest first
  std::vector<FlightOperation> operations;  // the oldest first
};

class FlightRecorder {
 public:
  static constexpr size_t kOperations = 4096;
  static constexpr size_t kWorlds = 16;
  struct Memory;  // what lies in the shared memory

  enum class Kind { kShared, kPrivate };

  // `clock` outlives the recorder. Where the kernel refuses shared memory, private memory does.
  FlightRecorder(const Clock& clock, Incarnation process, Kind kind = Kind::kShared);
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  // The engine's, which calls them one at a time. The operation's place, for End; a place is used
  // again after kOperations others.
  uint64_t Begin(Generation generation, uint64_t sequence,
                 const std::array<uint64_t, 2>& fingerprint, uint64_t bytes, TimePoint now);
  void End(uint64_t number, const Status& status);

  // Which member this is, once that is known.
  void SetMember(MemberId member);
  // The training thread's.
  void SetActivity(Activity activity, StepNumber step);
  // What it computes from now on, until EndPart or another activity: positions [begin, end) of the
  // step's batch, which are these samples.
  void BeginPart(int begin, int end, std::span<const int64_t> samples);
  void EndPart();
  // The loop's thread's.
  void EnterWorld(const World& world, int rank);

  // From any thread: what it does now, and since when.
  Activity activity(StepNumber* step, TimePoint* since) const;

  // A descriptor of the memory for another process; none where there is no shared memory.
  UniqueFd Share() const;
  // What a dump of it is now.
  std::string Copy() const;

 private:
  const Clock& clock_;
  UniqueFd shared_;  // none: private memory
  Memory* memory_ = nullptr;
  uint64_t operations_ = 0;  // begun
  uint64_t worlds_ = 0;      // entered
};

// Of what lies in another process's memory, as Share gave it, what changes within moments: the
// newest operations, the worlds and what it does now. A tenth of the whole, for when others wait.
Result<std::string> CopyNewestOfFlight(const UniqueFd& shared, TimePoint now);
// A dump of the same memory as it was when `newest` was copied from it, but for older operations
// that have been overwritten since.
Result<std::string> CopyFlight(const UniqueFd& shared, std::string_view newest);

// Of the same: " in step 12", " after step 12", or nothing where it is in none.
std::string FlightPosition(const UniqueFd& shared);
// Of the same, whose process doesn't go on: the part that it was computing, or none.
BatchPart FlightPart(const UniqueFd& shared);

// `dump` is what Copy or CopyFlight gave, perhaps of a process that was writing just then:
// what was torn by that is left out. kInvalidArgument, with what is wrong, for anything else.
Result<FlightRecord> ReadFlightRecord(std::string_view dump);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_FLIGHT_RECORDER_H_
