#include "base/status.h"

#include <cerrno>
#include <cstring>

namespace closeranks {

std::string_view StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "kOk";
    case StatusCode::kInvalidArgument:
      return "kInvalidArgument";
    case StatusCode::kMismatch:
      return "kMismatch";
    case StatusCode::kTimeout:
      return "kTimeout";
    case StatusCode::kPeerLost:
      return "kPeerLost";
    case StatusCode::kAborted:
      return "kAborted";
    case StatusCode::kStaleGeneration:
      return "kStaleGeneration";
    case StatusCode::kUnauthenticated:
      return "kUnauthenticated";
    case StatusCode::kResourceExhausted:
      return "kResourceExhausted";
    case StatusCode::kUnavailable:
      return "kUnavailable";
    case StatusCode::kInternal:
      return "kInternal";
  }
  return "kUnknown";
}

Status::Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

Status&& Status::WithSuspectedRank(int rank) && {
  suspected_rank_ = rank;
  return std::move(*this);
}

Status&& Status::WithGeneration(uint64_t generation) && {
  generation_ = generation;
  return std::move(*this);
}

Status&& Status::WithOpSequence(uint64_t op_sequence) && {
  op_sequence_ = op_sequence;
  return std::move(*this);
}

Status Status::WithContext(std::string_view context) const {
  Status result = *this;
  if (!ok()) result.message_ = std::string(context) + ": " + message_;
  return result;
}

std::string Status::ToString() const {
  if (ok()) return "kOk";
  std::string text = std::string(StatusCodeName(code_)) + ": " + message_;
  std::string where;
  auto add = [&where](const char* name, uint64_t number) {
    where += (where.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(number);
  };
  if (suspected_rank_) add("rank", static_cast<uint64_t>(*suspected_rank_));
  if (generation_) add("generation", *generation_);
  if (op_sequence_) add("op", *op_sequence_);
  if (!where.empty()) text += " (" + where + ")";
  return text;
}

Status InvalidArgument(std::string message) {
  return {StatusCode::kInvalidArgument, std::move(message)};
}
Status Mismatch(std::string message) { return {StatusCode::kMismatch, std::move(message)}; }
Status Timeout(std::string message) { return {StatusCode::kTimeout, std::move(message)}; }
Status PeerLost(std::string message) { return {StatusCode::kPeerLost, std::move(message)}; }
Status Aborted(std::string message) { return {StatusCode::kAborted, std::move(message)}; }
Status StaleGeneration(std::string message) {
  return {StatusCode::kStaleGeneration, std::move(message)};
}
Status Unauthenticated(std::string message) {
  return {StatusCode::kUnauthenticated, std::move(message)};
}
Status ResourceExhausted(std::string message) {
  return {StatusCode::kResourceExhausted, std::move(message)};
}
Status Unavailable(std::string message) { return {StatusCode::kUnavailable, std::move(message)}; }
Status Internal(std::string message) { return {StatusCode::kInternal, std::move(message)}; }

Status ErrnoStatus(int error_number, std::string_view what) {
  std::string message = std::string(what) + ": " + std::strerror(error_number);
  switch (error_number) {
    case ECONNRESET:
    case EPIPE:
      return PeerLost(std::move(message));
    case ETIMEDOUT:
      return Timeout(std::move(message));
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
      return ResourceExhausted(std::move(message));
    case EKEYREJECTED:  // how net/tls.h says that the other side refused this one's certificate
      return Unauthenticated(std::move(message));
    case EINVAL:
    case ENAMETOOLONG:
      return InvalidArgument(std::move(message));
    default:
      return Unavailable(std::move(message));
  }
}

std::ostream& operator<<(std::ostream& out, const Status& status) {
  return out << status.ToString();
}

}  // namespace closeranks
