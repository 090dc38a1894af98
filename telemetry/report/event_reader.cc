#include "telemetry/report/event_reader.h"

#include <charconv>
#include <functional>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "nlohmann/json.hpp"

namespace closeranks::telemetry {
namespace {

using Json = nlohmann::json;

constexpr char kSupervisorFile[] = "events.supervisor.jsonl";

// Takes typed fields from one object and remembers the first that doesn't fit.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  template <typename T>
  void Get(const char* name, T& value) {
    if (!wrong_.empty()) return;
    auto found = object_.find(name);
    if (found == object_.end()) {
      wrong_ = std::string("field \"") + name + "\" is missing";
    } else if (!Read(*found, value)) {
      wrong_ = std::string("field \"") + name + "\" isn't of its type";
    }
  }

  // Empty, or what is wrong.
  const std::string& wrong() const { return wrong_; }

 private:
  static bool Read(const Json& json, std::string& value) {
    if (!json.is_string()) return false;
    value = json.get<std::string>();
    return true;
  }
  // null stands for a number that isn't finite.
  static bool Read(const Json& json, double& value) {
    if (!json.is_number() && !json.is_null()) return false;
    value = json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
    return true;
  }
  static bool Read(const Json& json, TimePoint& value) {
    int64_t nanoseconds = 0;
    if (!Read(json, nanoseconds)) return false;
    value = TimePoint(Duration(nanoseconds));
    // Beyond a century of uptime it's garbage, and differences might not fit.
    return nanoseconds >= 0 && nanoseconds < (int64_t{1} << 62);
  }
  template <typename T>
    requires std::is_integral_v<T>
  static bool Read(const Json& json, T& value) {
    // The parser keeps what has no sign as unsigned.
    if (json.is_number_unsigned()) {
      auto wide = json.get<uint64_t>();
      value = static_cast<T>(wide);
      return std::in_range<T>(wide);
    }
    if (!json.is_number_integer()) return false;
    auto wide = json.get<int64_t>();
    value = static_cast<T>(wide);
    return std::in_range<T>(wide);
  }
  static bool Read(const Json& json, std::vector<int32_t>& values) {
    if (!json.is_array()) return false;
    for (const Json& element : json) {
      int32_t value = 0;
      if (!Read(element, value)) return false;
      values.push_back(value);
    }
    return true;
  }

  const Json& object_;
  std::string wrong_;
};

template <typename Event>
Event ReadEvent(Fields& fields) {
  Event event;
  Event::ForEachField(event, [&](const char* name, auto& value) { fields.Get(name, value); });
  return event;
}

// These take the event if it is of this name.
template <typename Event>
void Take(std::string_view name, Fields& fields, TimePoint t, std::vector<Timed<Event>>& events) {
  if (name == Event::kName) events.push_back({t, ReadEvent<Event>(fields)});
}

template <typename Event>
void Take(std::string_view name, Fields& fields, TimePoint t, std::optional<Timed<Event>>& event) {
  if (name == Event::kName) event = {t, ReadEvent<Event>(fields)};
}

void TakeEvent(std::string_view name, Fields& fields, TimePoint t, WorkerEvents& worker) {
  Take(name, fields, t, worker.start);
  Take(name, fields, t, worker.worlds);
  Take(name, fields, t, worker.transfers);
  Take(name, fields, t, worker.commits);
  Take(name, fields, t, worker.metrics);
  Take(name, fields, t, worker.slow);
  Take(name, fields, t, worker.end);
}

void TakeEvent(std::string_view name, Fields& fields, TimePoint t, SupervisorEvents& events) {
  Take(name, fields, t, events.run);
  Take(name, fields, t, events.started);
  Take(name, fields, t, events.kills);
  if (name == KillEvent::kName) events.kills.back().event.t = t;
  Take(name, fields, t, events.exits);
  Take(name, fields, t, events.suspected);
  Take(name, fields, t, events.end);
}

// Empty, or what is wrong with `line`.
template <typename Sink>
std::string ReadLine(std::string_view line, Sink& sink) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return "not a JSON object";
  Fields fields(json);
  TimePoint t;
  std::string name;
  fields.Get("t", t);
  fields.Get("event", name);
  if (fields.wrong().empty()) TakeEvent(name, fields, t, sink);
  return fields.wrong();
}

template <typename Sink>
Status ReadEventFile(Files& files, const std::string& folder, const std::string& name, Sink& sink,
                     std::vector<std::string>& torn) {
  std::string path = folder + "/" + name;
  ASSIGN_OR_RETURN(std::string text, files.Read(path));
  std::string_view rest = text;
  for (int number = 1; !rest.empty(); ++number) {
    size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      torn.push_back(name);
      break;
    }
    std::string wrong = ReadLine(rest.substr(0, end), sink);
    if (!wrong.empty()) return InvalidArgument(path + ":" + std::to_string(number) + ": " + wrong);
    rest.remove_prefix(end + 1);
  }
  return OkStatus();
}

// "events.3.1a2b3c4d.jsonl" -> 3 and 1a2b3c4d. False for another name.
bool ParseWorkerFileName(std::string_view name, WorkerEvents& worker) {
  constexpr std::string_view kBegin = "events.";
  constexpr std::string_view kEnd = ".jsonl";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) return false;
  name.remove_prefix(kBegin.size());
  if (name.size() < kEnd.size()) return false;
  name.remove_suffix(kEnd.size());
  size_t dot = name.find('.');
  if (dot == std::string_view::npos) return false;
  auto [end, error] = std::from_chars(name.data(), name.data() + dot, worker.member);
  if (error != std::errc() || end != name.data() + dot || worker.member < 0) return false;
  worker.incarnation8 = name.substr(dot + 1);
  return !worker.incarnation8.empty();
}

}  // namespace

Result<SupervisorEvents> ReadSupervisorEvents(Files& files, const std::string& folder) {
  SupervisorEvents events;
  std::vector<std::string> torn;
  RETURN_IF_ERROR(ReadEventFile(files, folder, kSupervisorFile, events, torn));
  return events;
}

Result<RunEvents> ReadEvents(Files& files, const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  RunEvents events;
  for (const std::string& name : names) {
    WorkerEvents worker;
    if (name == kSupervisorFile) {
      events.supervisor.emplace();
      RETURN_IF_ERROR(ReadEventFile(files, folder, name, *events.supervisor, events.torn));
    } else if (ParseWorkerFileName(name, worker)) {
      worker.file = name;
      RETURN_IF_ERROR(ReadEventFile(files, folder, name, worker, events.torn));
      events.workers.push_back(std::move(worker));
    }
  }
  if (events.workers.empty()) {
    return Unavailable("no worker's events (events.<member>.<incarnation>.jsonl) in " + folder);
  }
  return events;
}

}  // namespace closeranks::telemetry
