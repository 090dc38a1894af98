// What went wrong, in the form a caller can act on.
//
// Every function that can fail for a reason outside of our own code returns a Status or a
// Result<T>. There is one code for each distinct reaction of the caller, so that nobody parses
// messages. Bugs of our own are CHECK failures instead. Values are freely copied between threads.
#ifndef CLOSERANKS_BASE_STATUS_H_
#define CLOSERANKS_BASE_STATUS_H_

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "glog/logging.h"

namespace closeranks {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,    // the caller's own mistake: mend the call or the flag
  kMismatch,           // two ranks disagree; the message names both sides
  kTimeout,            // a deadline passed; the message says who was waited for
  kPeerLost,           // a peer is gone; a new generation will follow
  kAborted,            // the operation was given up on request
  kStaleGeneration,    // the world has changed; take the operation to the new generation
  kUnauthenticated,    // the other side could not prove that it has the job's key
  kResourceExhausted,  // memory, descriptors or disk ran out
  kUnavailable,        // not there yet or not any more; trying again may help
  kInternal,           // a broken promise of our own that was noticed in time
};

std::string_view StatusCodeName(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(StatusCode code, std::string message);

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // Where it happened, as far as it is known. `suspected_rank` is a rank of `generation`.
  std::optional<int> suspected_rank() const { return suspected_rank_; }
  std::optional<uint64_t> generation() const { return generation_; }
  std::optional<uint64_t> op_sequence() const { return op_sequence_; }

  Status&& WithSuspectedRank(int rank) &&;
  Status&& WithGeneration(uint64_t generation) &&;
  Status&& WithOpSequence(uint64_t op_sequence) &&;

  // The same status with `context` and ": " before its message.
  Status WithContext(std::string_view context) const;

  // "kPeerLost: connection reset (rank 2, generation 3, op 17)"
  std::string ToString() const;

  bool operator==(const Status& other) const = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::optional<int> suspected_rank_;
  std::optional<uint64_t> generation_;
  std::optional<uint64_t> op_sequence_;
};

inline Status OkStatus() { return Status(); }
Status InvalidArgument(std::string message);
Status Mismatch(std::string message);
Status Timeout(std::string message);
Status PeerLost(std::string message);
Status Aborted(std::string message);
Status StaleGeneration(std::string message);
Status Unauthenticated(std::string message);
Status ResourceExhausted(std::string message);
Status Unavailable(std::string message);
Status Internal(std::string message);

// "what: strerror(error_number)", with the code that fits the error number.
Status ErrnoStatus(int error_number, std::string_view what);

std::ostream& operator<<(std::ostream& out, const Status& status);

// A T or the Status that says why there is none. Never holds an ok Status.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(runtime/explicit)
  Result(Status status) : state_(std::in_place_index<1>, std::move(status)) {  // NOLINT
    CHECK(!std::get<1>(state_).ok()) << "a Result needs a value or an error";
  }

  bool ok() const { return state_.index() == 0; }
  Status status() const { return ok() ? OkStatus() : std::get<1>(state_); }

  // CHECK-fails when !ok().
  const T& value() const& {
    CHECK(ok()) << std::get<1>(state_).ToString();
    return std::get<0>(state_);
  }
  T& value() & {
    CHECK(ok()) << std::get<1>(state_).ToString();
    return std::get<0>(state_);
  }
  T&& value() && {
    CHECK(ok()) << std::get<1>(state_).ToString();
    return std::get<0>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace closeranks

#define CLOSERANKS_CONCAT_INNER(a, b) a##b
#define CLOSERANKS_CONCAT(a, b) CLOSERANKS_CONCAT_INNER(a, b)

// Returns from the calling function when `expression` (a Status) isn't ok.
#define RETURN_IF_ERROR(expression)                                  \
  do {                                                               \
    ::closeranks::Status return_if_error_status = (expression);      \
    if (!return_if_error_status.ok()) return return_if_error_status; \
  } while (false)

// Assigns the value of `expression` (a Result) to `target`, or returns its Status.
#define ASSIGN_OR_RETURN(target, expression)                        \
  auto CLOSERANKS_CONCAT(result_at_line_, __LINE__) = (expression); \
  if (!CLOSERANKS_CONCAT(result_at_line_, __LINE__).ok())           \
    return CLOSERANKS_CONCAT(result_at_line_, __LINE__).status();   \
  target = std::move(CLOSERANKS_CONCAT(result_at_line_, __LINE__)).value()

#endif  // CLOSERANKS_BASE_STATUS_H_
