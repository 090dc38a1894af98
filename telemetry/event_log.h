// What a process did, one line of JSON for each event, in a file of its own: readable while the
// process runs and whole up to its last line after a SIGKILL. records.h says which events there
// are.
#ifndef CLOSERANKS_TELEMETRY_EVENT_LOG_H_
#define CLOSERANKS_TELEMETRY_EVENT_LOG_H_

#include <concepts>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/files.h"
#include "base/status.h"

namespace closeranks::telemetry {

// One event before it has a time: a name and fields, already in the form they are written in.
//   log.Write(Record("metric").Set("name", "test_accuracy").Set("value", 0.91));
// Strings that aren't UTF-8 get replacement characters, numbers that aren't finite become null. A
// field set twice stands there twice, so don't. A value type, single-threaded.
class Record {
 public:
  explicit Record(std::string_view event);

  Record& Set(std::string_view field, bool value);
  Record& Set(std::string_view field, double value);
  Record& Set(std::string_view field, std::string_view value);
  // Without it a string literal would become a bool.
  Record& Set(std::string_view field, const char* value) {
    return Set(field, std::string_view(value));
  }
  Record& Set(std::string_view field, std::signed_integral auto value) {
    return SetSigned(field, static_cast<int64_t>(value));
  }
  Record& Set(std::string_view field, std::unsigned_integral auto value) {
    return SetUnsigned(field, static_cast<uint64_t>(value));
  }
  // Nanoseconds of the clock, as in "t"; 0 for TimePoint{}, which stands for "doesn't apply".
  Record& Set(std::string_view field, TimePoint value) {
    return SetSigned(field, value.time_since_epoch().count());
  }
  // A list of numbers: ranks, members.
  Record& Set(std::string_view field, std::span<const int32_t> values);

  // The line without its time and braces: `"event":"commit","step":7`.
  const std::string& fields() const { return fields_; }

 private:
  Record& SetSigned(std::string_view field, int64_t value);
  Record& SetUnsigned(std::string_view field, uint64_t value);
  void Name(std::string_view field);

  std::string fields_;
};

// Appends events to one file. All calls may come from any thread; each blocks for one write() and
// never syncs, so a line survives the process but perhaps not the machine.
//
// Training doesn't stop because its log can't be written: after the first failure nothing more is
// written (the file then ends in at most one torn line, which readers ignore), the failure is
// logged once, and status() keeps it for who wants to act on it.
class EventLog {
 public:
  // Stamps events with `clock`, which must outlive the log. Makes the file where it isn't there.
  static Result<std::unique_ptr<EventLog>> Open(Files& files, const std::string& path,
                                                const Clock& clock);

  // The same over a file that was opened elsewhere.
  EventLog(std::unique_ptr<AppendFile> file, const Clock& clock);

  // A log with no file, that forgets everything: for tests and for runs without a report.
  EventLog() = default;

  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Stamped with the time of this call, or with `t` when the moment that counts was an earlier one.
  void Write(const Record& record);
  void Write(const Record& record, TimePoint t);

  // Ok, or why the log has ended.
  Status status() const;

 private:
  const Clock* const clock_ = nullptr;  // none exactly when there never was a file
  mutable std::mutex mutex_;
  std::unique_ptr<AppendFile> file_;  // none after a failure
  Status status_;
};

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_EVENT_LOG_H_
