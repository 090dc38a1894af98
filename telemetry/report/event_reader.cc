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

  // Of a field that older versions didn't write.
  template <typename T>
  void GetIfThere(const char* name, T& value) {
    if (object_.contains(name)) Get(name, value);
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

void ReadFields(Fields& fields, StartEvent& event) {
  fields.Get("member", event.member);
  fields.Get("incarnation", event.incarnation);
  fields.Get("mode", event.mode);
  fields.Get("epochs", event.epochs);
  fields.Get("batch", event.batch);
  fields.Get("samples", event.samples);
  fields.Get("steps", event.steps);
  fields.Get("seed", event.seed);
  fields.Get("logical_shards", event.logical_shards);
  fields.Get("ranks", event.ranks);
}

void ReadFields(Fields& fields, WorldEvent& event) {
  fields.Get("gen", event.gen);
  fields.Get("rank", event.rank);
  fields.Get("size", event.size);
  fields.Get("members", event.members);
  fields.Get("lost", event.lost);
  fields.Get("lost_members", event.lost_members);
  fields.Get("joined_members", event.joined_members);
  fields.Get("resume_step", event.resume_step);
  fields.Get("t_detected", event.t_detected);
  fields.Get("t_decided", event.t_decided);
  fields.Get("t_rewired", event.t_rewired);
}

void ReadFields(Fields& fields, TransferEvent& event) {
  fields.Get("gen", event.gen);
  fields.Get("member", event.member);
  fields.Get("bytes", event.bytes);
  fields.Get("t_begin", event.t_begin);
  fields.Get("t_end", event.t_end);
}

void ReadFields(Fields& fields, CommitEvent& event) {
  fields.Get("step", event.step);
  fields.Get("epoch", event.epoch);
  fields.Get("loss", event.loss);
  fields.Get("gen", event.gen);
  fields.Get("size", event.size);
  fields.Get("samples", event.samples);
}

void ReadFields(Fields& fields, MetricEvent& event) {
  fields.Get("name", event.name);
  fields.Get("value", event.value);
}

void ReadFields(Fields& fields, EndEvent& event) {
  fields.Get("step", event.step);
  fields.Get("weights_sha256", event.weights_sha256);
  fields.Get("seconds", event.seconds);
}

void ReadFields(Fields& fields, RunEvent& event) {
  fields.Get("command", event.command);
  fields.Get("ranks", event.ranks);
}

void ReadFields(Fields& fields, WorkerStartedEvent& event) {
  fields.Get("member", event.member);
  fields.Get("incarnation", event.incarnation);
  fields.Get("pid", event.pid);
}

void ReadFields(Fields& fields, KillEvent& event) {
  fields.Get("member", event.member);
  fields.Get("rank", event.rank);
  fields.Get("step", event.step);
  fields.Get("t", event.t);
}

void ReadFields(Fields& fields, WorkerExitEvent& event) {
  fields.Get("member", event.member);
  fields.Get("incarnation", event.incarnation);
  fields.Get("code", event.code);
  fields.Get("signal", event.signal);
  fields.GetIfThere("ended_for", event.ended_for);
  fields.GetIfThere("t_lost", event.t_lost);
  fields.GetIfThere("t_heard", event.t_heard);
}

void ReadFields(Fields& fields, SupervisorEndEvent& event) {
  fields.Get("exit_code", event.exit_code);
}

template <typename Event>
void Take(Fields& fields, TimePoint t, std::vector<Timed<Event>>& events) {
  Timed<Event> timed{.t = t, .event = {}};
  ReadFields(fields, timed.event);
  events.push_back(std::move(timed));
}

template <typename Event>
void Take(Fields& fields, TimePoint t, std::optional<Timed<Event>>& event) {
  event.emplace();
  event->t = t;
  ReadFields(fields, event->event);
}

void TakeEvent(const std::string& name, Fields& fields, TimePoint t, WorkerEvents& worker) {
  if (name == "start") Take(fields, t, worker.start);
  if (name == "world") Take(fields, t, worker.worlds);
  if (name == "transfer") Take(fields, t, worker.transfers);
  if (name == "commit") Take(fields, t, worker.commits);
  if (name == "metric") Take(fields, t, worker.metrics);
  if (name == "end") Take(fields, t, worker.end);
}

void TakeEvent(const std::string& name, Fields& fields, TimePoint t, SupervisorEvents& events) {
  if (name == "run") Take(fields, t, events.run);
  if (name == "worker_started") Take(fields, t, events.started);
  if (name == "kill") Take(fields, t, events.kills);
  if (name == "worker_exit") Take(fields, t, events.exits);
  if (name == "end") Take(fields, t, events.end);
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

Result<RunEvents> ReadEvents(Files& files, const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  RunEvents events;
  for (const std::string& name : names) {
    WorkerEvents worker;
    if (name == "events.supervisor.jsonl") {
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
