#include "telemetry/flight_recorder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "glog/logging.h"

namespace closeranks::telemetry {
namespace {

constexpr uint64_t kMagic = 0x5448474c46524c43;  // "CLRFLGHT" in memory
constexpr uint32_t kVersion = 3;                 // of the layout
constexpr int kActivityBits = 8;

// A reader copies from low addresses to high ones, perhaps while the owner writes. So what a slot
// holds is framed by its number, which is another one after each reuse; and what makes a part of it
// valid stands before that part and is written after it.
struct OperationSlot {
  std::atomic<uint64_t> number;  // 0: being written
  uint64_t generation;
  uint64_t sequence;
  uint64_t fingerprint[2];
  uint64_t bytes;
  int64_t begun;
  std::atomic<int64_t> ended;  // 0: under way, and what follows isn't valid yet
  int32_t status;
  int32_t suspected_rank;
  std::atomic<uint64_t> number_again;
};

struct WorldSlot {
  std::atomic<uint64_t> number;  // counts worlds from 1; 0: being written
  uint64_t generation;
  int64_t entered;
  int32_t rank;
  int32_t size;
  int32_t members[FlightWorld::kMostMembers];
  std::atomic<uint64_t> number_again;
};

// What the training thread is about, and in which step, as one word has both.
Activity ActivityOf(uint64_t word) {
  return static_cast<Activity>(word & ((uint64_t{1} << kActivityBits) - 1));
}
StepNumber StepOf(uint64_t word) { return word >> kActivityBits; }

int64_t Nanoseconds(TimePoint when) { return when.time_since_epoch().count(); }
TimePoint FromNanoseconds(int64_t when) { return TimePoint(Duration(when)); }

void SetDumped(std::string* copy, size_t offset, TimePoint when) {
  const int64_t dumped = Nanoseconds(when);
  std::memcpy(copy->data() + offset, &dumped, sizeof(dumped));
}

}  // namespace

struct FlightRecorder::Memory {
  uint64_t magic;
  uint32_t version;
  std::atomic<int32_t> member;
  uint64_t incarnation[2];
  std::atomic<uint64_t> activity;  // and the step, above kActivityBits
  std::atomic<int64_t> active_since;
  std::atomic<uint64_t> part;  // its begin, above its end; 0: it computes none
  int64_t samples[BatchPart::kMostSamples];
  int64_t dumped;                // only in a copy
  std::atomic<uint64_t> newest;  // operation's number
  WorldSlot worlds[kWorlds];
  OperationSlot operations[kOperations];
};

static_assert(std::atomic<uint64_t>::is_always_lock_free);

// All but the operations.
constexpr size_t kHeadBytes = offsetof(FlightRecorder::Memory, operations);
// So many are copied at once: far more than are ever under way.
constexpr uint64_t kNewestOperations = 128;
constexpr size_t kSlot = sizeof(OperationSlot);

std::string_view ActivityText(Activity activity) {
  switch (activity) {
    case Activity::kStarting:
      return "starts";
    case Activity::kAwaitingWorld:
      return "waits for a new world";
    case Activity::kCatchingUp:
      return "catches up";
    case Activity::kComputing:
      return "computes";
    case Activity::kReducing:
      return "waits for the reduction";
    case Activity::kApplying:
      return "applies the update";
    case Activity::kBetween:
      return "is between two steps, in the program's own code";
    case Activity::kEnding:
      return "is through, and waits for the job's end";
  }
  return "does something that this version doesn't know";
}

FlightRecorder::FlightRecorder(const Clock& clock, Incarnation process, Kind kind) : clock_(clock) {
  if (kind == Kind::kShared) {
    shared_ = UniqueFd(memfd_create("closeranks-flight", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    // Takes the pages now: a fault later would be a SIGBUS in the middle of a step.
    if (shared_ && posix_fallocate(shared_.get(), 0, sizeof(Memory)) != 0) shared_.Reset();
  }
  const int flags = shared_ ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS;
  void* memory =
      mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, flags, shared_ ? shared_.get() : -1, 0);
  CHECK(memory != MAP_FAILED) << ErrnoStatus(errno, "memory for the flight recorder");
  memory_ = static_cast<Memory*>(memory);  // zeros, which is what an empty ring is
  memory_->incarnation[0] = process.high;
  memory_->incarnation[1] = process.low;
  memory_->member = -1;
  memory_->version = kVersion;
  memory_->magic = kMagic;
  SetActivity(Activity::kStarting, 0);
}

FlightRecorder::~FlightRecorder() { munmap(memory_, sizeof(Memory)); }

uint64_t FlightRecorder::Begin(Generation generation, uint64_t sequence,
                               const std::array<uint64_t, 2>& fingerprint, uint64_t bytes,
                               TimePoint now) {
  const uint64_t number = ++operations_;
  OperationSlot& slot = memory_->operations[number % kOperations];
  slot.number.store(0, std::memory_order_release);
  slot.number_again.store(0, std::memory_order_release);
  slot.ended.store(0, std::memory_order_release);
  slot.generation = generation;
  slot.sequence = sequence;
  slot.fingerprint[0] = fingerprint[0];
  slot.fingerprint[1] = fingerprint[1];
  slot.bytes = bytes;
  slot.begun = Nanoseconds(now);
  slot.number_again.store(number, std::memory_order_release);
  slot.number.store(number, std::memory_order_release);
  memory_->newest.store(number, std::memory_order_release);
  return number;
}

void FlightRecorder::End(uint64_t number, const Status& status) {
  OperationSlot& slot = memory_->operations[number % kOperations];
  if (slot.number.load(std::memory_order_relaxed) != number) return;  // it has been overtaken
  slot.status = static_cast<int32_t>(status.code());
  slot.suspected_rank = status.suspected_rank().value_or(-1);
  slot.ended.store(Nanoseconds(clock_.Now()), std::memory_order_release);
}

void FlightRecorder::SetMember(MemberId member) { memory_->member = member; }

void FlightRecorder::SetActivity(Activity activity, StepNumber step) {
  EndPart();
  // In this order, and read in the other: nobody takes a new activity for an old one's age.
  memory_->active_since.store(Nanoseconds(clock_.Now()), std::memory_order_relaxed);
  memory_->activity.store(step << kActivityBits | static_cast<uint64_t>(activity),
                          std::memory_order_release);
}

void FlightRecorder::BeginPart(int begin, int end, std::span<const int64_t> samples) {
  const size_t kept = std::min(samples.size(), BatchPart::kMostSamples);
  std::copy_n(samples.begin(), kept, memory_->samples);
  memory_->part.store(uint64_t{static_cast<uint32_t>(begin)} << 32 | static_cast<uint32_t>(end),
                      std::memory_order_release);
}

void FlightRecorder::EndPart() { memory_->part.store(0, std::memory_order_release); }

void FlightRecorder::EnterWorld(const World& world, int rank) {
  const uint64_t number = ++worlds_;
  WorldSlot& slot = memory_->worlds[number % kWorlds];
  slot.number.store(0, std::memory_order_release);
  slot.number_again.store(0, std::memory_order_release);
  slot.generation = world.generation;
  slot.entered = Nanoseconds(clock_.Now());
  slot.rank = rank;
  slot.size = world.size();
  const size_t kept = std::min<size_t>(world.ranks.size(), FlightWorld::kMostMembers);
  for (size_t i = 0; i < kept; ++i) slot.members[i] = world.ranks[i].member;
  slot.number_again.store(number, std::memory_order_release);
  slot.number.store(number, std::memory_order_release);
}

Activity FlightRecorder::activity(StepNumber* step, TimePoint* since) const {
  const uint64_t word = memory_->activity.load(std::memory_order_acquire);
  *since = FromNanoseconds(memory_->active_since.load(std::memory_order_relaxed));
  *step = StepOf(word);
  return ActivityOf(word);
}

UniqueFd FlightRecorder::Share() const {
  return shared_ ? UniqueFd(fcntl(shared_.get(), F_DUPFD_CLOEXEC, 0)) : UniqueFd();
}

std::string FlightRecorder::Copy() const {
  std::string bytes(reinterpret_cast<const char*>(memory_), sizeof(Memory));
  SetDumped(&bytes, offsetof(Memory, dumped), clock_.Now());
  return bytes;
}

namespace {

// Reads exactly `size` bytes at `offset` into `to`.
Status ReadAt(const UniqueFd& shared, char* to, size_t size, size_t offset) {
  for (size_t done = 0; done < size;) {
    const ssize_t count =
        pread(shared.get(), to + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "reading a flight record");
    if (count == 0) {
      return InvalidArgument("a flight record of " + std::to_string(offset + done) + " bytes");
    }
    done += static_cast<size_t>(count);
  }
  return OkStatus();
}

// How many operations are copied where this is the newest.
uint64_t CountUpTo(uint64_t newest) { return std::min(newest, kNewestOperations); }

uint64_t NewestOf(std::string_view head) {
  uint64_t newest = 0;
  std::memcpy(&newest, head.data() + offsetof(FlightRecorder::Memory, newest), sizeof(newest));
  return newest;
}

}  // namespace

Result<std::string> CopyNewestOfFlight(const UniqueFd& shared, TimePoint now) {
  std::string bytes(kHeadBytes + kNewestOperations * kSlot, '\0');
  RETURN_IF_ERROR(ReadAt(shared, bytes.data(), kHeadBytes, 0));
  // The slots lie in one row, or in two: at the ring's end and at its beginning.
  const uint64_t newest = NewestOf(bytes);
  const uint64_t count = CountUpTo(newest);
  const size_t first = (newest - count + 1) % FlightRecorder::kOperations;
  const size_t at_end = std::min<size_t>(count, FlightRecorder::kOperations - first);
  char* to = bytes.data() + kHeadBytes;
  RETURN_IF_ERROR(ReadAt(shared, to, at_end * kSlot, kHeadBytes + first * kSlot));
  RETURN_IF_ERROR(ReadAt(shared, to + at_end * kSlot, (count - at_end) * kSlot, kHeadBytes));
  bytes.resize(kHeadBytes + count * kSlot);
  SetDumped(&bytes, offsetof(FlightRecorder::Memory, dumped), now);
  return bytes;
}

Result<std::string> CopyFlight(const UniqueFd& shared, std::string_view newest) {
  std::string bytes(sizeof(FlightRecorder::Memory), '\0');
  RETURN_IF_ERROR(ReadAt(shared, bytes.data(), bytes.size(), 0));
  const uint64_t then = NewestOf(newest);
  for (size_t at = kHeadBytes; at < bytes.size(); at += kSlot) {
    uint64_t number = 0;  // the first of a slot
    std::memcpy(&number, bytes.data() + at, sizeof(number));
    if (number > then) std::memset(bytes.data() + at, 0, kSlot);
  }
  newest.copy(bytes.data(), kHeadBytes);
  const char* from = newest.data() + kHeadBytes;
  for (uint64_t number = then - CountUpTo(then) + 1; number <= then; ++number, from += kSlot) {
    const size_t index = number % FlightRecorder::kOperations;
    std::memcpy(bytes.data() + kHeadBytes + index * kSlot, from, kSlot);
  }
  return bytes;
}

std::string FlightPosition(const UniqueFd& shared) {
  uint64_t word = 0;
  const auto where = static_cast<off_t>(offsetof(FlightRecorder::Memory, activity));
  if (pread(shared.get(), &word, sizeof(word), where) != sizeof(word)) return "";
  const StepNumber step = StepOf(word);
  if (step == 0) return "";
  const auto activity = ActivityOf(word);
  const bool is_through = activity == Activity::kBetween || activity == Activity::kEnding;
  return (is_through ? " after step " : " in step ") + std::to_string(step);
}

BatchPart FlightPart(const UniqueFd& shared) {
  struct {
    uint64_t activity;
    int64_t active_since;
    uint64_t part;
    int64_t samples[BatchPart::kMostSamples];
  } read{};
  using Memory = FlightRecorder::Memory;
  static_assert(offsetof(Memory, samples) - offsetof(Memory, activity) ==
                offsetof(decltype(read), samples));
  const Status got =
      ReadAt(shared, reinterpret_cast<char*>(&read), sizeof(read), offsetof(Memory, activity));
  const auto activity = ActivityOf(read.activity);
  if (!got.ok() || activity != Activity::kComputing || read.part == 0) return {};
  BatchPart part = {StepOf(read.activity),
                    static_cast<int32_t>(read.part >> 32),
                    static_cast<int32_t>(read.part),
                    {}};
  // Who died of a wild write may have left anything here.
  if (part.begin < 0 || part.end <= part.begin || part.IsNone()) return {};
  const auto size = static_cast<size_t>(part.end - part.begin);
  part.samples.assign(read.samples, read.samples + std::min(size, BatchPart::kMostSamples));
  return part;
}

Result<FlightRecord> ReadFlightRecord(std::string_view dump) {
  using Memory = FlightRecorder::Memory;
  if (dump.size() != sizeof(Memory)) {
    return InvalidArgument("this is no flight record of this version: it has " +
                           std::to_string(dump.size()) + " bytes, expected " +
                           std::to_string(sizeof(Memory)));
  }
  // Aligned, and nobody writes it.
  auto memory = std::make_unique<Memory>();
  std::memcpy(static_cast<void*>(memory.get()), dump.data(), dump.size());
  if (memory->magic != kMagic || memory->version != kVersion) {
    return InvalidArgument("this is no flight record of this version");
  }
  FlightRecord record;
  record.process = {memory->member, {memory->incarnation[0], memory->incarnation[1]}};
  record.dumped = FromNanoseconds(memory->dumped);
  const uint64_t word = memory->activity;
  record.activity = ActivityOf(word);
  record.step = StepOf(word);
  record.active_since = FromNanoseconds(memory->active_since);
  for (const WorldSlot& slot : memory->worlds) {
    const size_t members =
        std::min<size_t>(static_cast<size_t>(std::max(slot.size, 0)), FlightWorld::kMostMembers);
    if (slot.number == 0 || slot.number != slot.number_again) continue;
    record.worlds.push_back({slot.generation,
                             slot.rank,
                             {slot.members, slot.members + members},
                             slot.size,
                             FromNanoseconds(slot.entered)});
  }
  for (const OperationSlot& slot : memory->operations) {
    if (slot.number == 0 || slot.number != slot.number_again) continue;
    FlightOperation operation{slot.number,   slot.generation,
                              slot.sequence, {slot.fingerprint[0], slot.fingerprint[1]},
                              slot.bytes,    FromNanoseconds(slot.begun)};
    if (slot.ended != 0) {
      operation.ended = FromNanoseconds(slot.ended);
      operation.status = static_cast<StatusCode>(slot.status);
      operation.suspected_rank = slot.suspected_rank;
    }
    record.operations.push_back(operation);
  }
  const auto by_generation = [](const auto& a, const auto& b) {
    return a.generation < b.generation;
  };
  const auto by_number = [](const auto& a, const auto& b) { return a.number < b.number; };
  std::sort(record.worlds.begin(), record.worlds.end(), by_generation);
  std::sort(record.operations.begin(), record.operations.end(), by_number);
  return record;
}

}  // namespace closeranks::telemetry
