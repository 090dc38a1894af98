#include "telemetry/event_log.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "glog/logging.h"
#include "nlohmann/json.hpp"

namespace closeranks::telemetry {
namespace {

void AppendQuoted(std::string_view text, std::string* line) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
  });
  if (plain) {  // nearly always, and a step's event is worth being quick
    line->append(1, '"').append(text).append(1, '"');
    return;
  }
  using Json = nlohmann::json;
  *line += Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Record::Record(std::string_view event) { Set("event", event); }

void Record::Name(std::string_view field) {
  if (!fields_.empty()) fields_ += ',';
  AppendQuoted(field, &fields_);
  fields_ += ':';
}

Record& Record::Set(std::string_view field, bool value) {
  Name(field);
  fields_ += value ? "true" : "false";
  return *this;
}

Record& Record::Set(std::string_view field, double value) {
  Name(field);
  if (!std::isfinite(value)) {
    fields_ += "null";
    return *this;
  }
  char digits[32];  // the shortest form that reads back as the same double needs at most 24
  auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  fields_.append(digits, end);
  return *this;
}

Record& Record::Set(std::string_view field, std::string_view value) {
  Name(field);
  AppendQuoted(value, &fields_);
  return *this;
}

Record& Record::Set(std::string_view field, std::span<const int32_t> values) {
  Name(field);
  fields_ += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) fields_ += ',';
    fields_ += std::to_string(values[i]);
  }
  fields_ += ']';
  return *this;
}

Record& Record::SetSigned(std::string_view field, int64_t value) {
  Name(field);
  fields_ += std::to_string(value);
  return *this;
}

Record& Record::SetUnsigned(std::string_view field, uint64_t value) {
  Name(field);
  fields_ += std::to_string(value);
  return *this;
}

Result<std::unique_ptr<EventLog>> EventLog::Open(Files& files, const std::string& path,
                                                 const Clock& clock) {
  ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, files.OpenForAppend(path));
  return std::unique_ptr<EventLog>(new EventLog(std::move(file), clock));
}

EventLog::EventLog(std::unique_ptr<AppendFile> file, const Clock& clock)
    : clock_(&clock), file_(std::move(file)) {}

void EventLog::Write(const Record& record) {
  if (clock_ != nullptr) Write(record, clock_->Now());
}

void EventLog::Write(const Record& record, TimePoint t) {
  if (clock_ == nullptr) return;
  std::string line = "{\"t\":" + std::to_string(t.time_since_epoch().count()) + ',';
  line += record.fields();
  line += "}\n";
  std::lock_guard<std::mutex> lock(mutex_);
  if (!file_) return;
  // One Append is one write() unless a signal or a full disk cuts it short.
  status_ = file_->Append(line);
  if (status_.ok()) return;
  LOG(ERROR) << "the event log ends here: " << status_;
  file_.reset();
}

Status EventLog::status() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return status_;
}

}  // namespace closeranks::telemetry
