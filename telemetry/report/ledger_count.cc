#include "telemetry/report/ledger_count.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "nlohmann/json.hpp"

namespace closeranks::telemetry {
namespace {

constexpr size_t kExamples = 10;
// A tally needs 4 bytes for each; beyond this the machine would swap rather than count.
constexpr int64_t kMostSamples = int64_t{1} << 31;

// Beyond it a number is garbage, and differences of steps might not fit an int64_t.
constexpr StepNumber kLastPossibleStep = StepNumber{1} << 62;

struct Line {
  StepNumber step = 0;
  Generation generation = 0;
  int epoch = 0;
  std::vector<int64_t> ids;
};

// What one ledger says about one step.
struct Listing {
  size_t ledger = 0;
  std::vector<Line> lines;  // one, in a sound ledger
};

using Steps = std::map<StepNumber, std::vector<Listing>>;

// A ledger as it was read, and the start of the run that it belongs to.
struct Ledger {
  int64_t lineage = 0;
  int64_t parent = 0;
  StepNumber from_step = 0;
  std::vector<Line> lines;
};

// Reads a number and the space after it, where `text` has one.
template <typename T>
bool TakeNumber(std::string_view& text, T& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.empty()) return true;
  if (text.front() != ' ' || text.size() == 1) return false;
  text.remove_prefix(1);
  return true;
}

bool ParseLine(std::string_view text, Line& line) {
  if (!TakeNumber(text, line.step) || text.empty()) return false;
  if (line.step == 0 || line.step > kLastPossibleStep) return false;
  if (!TakeNumber(text, line.generation) || text.empty()) return false;
  if (!TakeNumber(text, line.epoch)) return false;
  while (!text.empty()) {
    int64_t id = 0;
    if (!TakeNumber(text, id)) return false;
    line.ids.push_back(id);
  }
  std::sort(line.ids.begin(), line.ids.end());
  return true;
}

// "lineage NUMBER of PARENT from STEP"
bool ParseLineage(std::string_view text, Ledger& ledger) {
  auto take = [&](std::string_view word, auto& number) {
    if (!text.starts_with(word)) return false;
    text.remove_prefix(word.size());
    return TakeNumber(text, number);
  };
  return take("lineage ", ledger.lineage) && take("of ", ledger.parent) &&
         take("from ", ledger.from_step) && text.empty() && ledger.lineage > ledger.parent &&
         ledger.parent >= 0;
}

// True in `torn` when the last line was cut.
Result<Ledger> ReadLedger(std::string_view text, const std::string& path, bool& torn) {
  Ledger ledger;
  for (int number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    if (end == std::string_view::npos) {
      torn = true;
      break;
    }
    Line line;
    const std::string_view written = text.substr(0, end);
    const bool is_lineage = number == 1 && ParseLineage(written, ledger);
    if (!is_lineage && !ParseLine(written, line)) {
      return InvalidArgument(path + ":" + std::to_string(number) +
                             ": not a ledger line (step generation epoch id id ...)");
    }
    if (!is_lineage) ledger.lines.push_back(std::move(line));
    text.remove_prefix(end + 1);
  }
  return ledger;
}

// Up to which step each lineage counts; those that aren't in it never happened.
std::map<int64_t, StepNumber> NewestLine(const std::vector<Ledger>& ledgers) {
  std::map<int64_t, const Ledger*, std::greater<>> lineages;
  for (const Ledger& ledger : ledgers) lineages[ledger.lineage] = &ledger;
  std::map<int64_t, StepNumber> line;
  if (!lineages.empty()) line[lineages.begin()->first] = kLastPossibleStep;
  for (const auto& [number, ledger] : lineages) {
    auto child = line.find(number);
    if (child == line.end() || number == 0) continue;
    line[ledger->parent] = std::min(child->second, ledger->from_step);
  }
  return line;
}

// The lines that count, by step.
Steps ByStep(std::vector<Ledger> ledgers, int64_t& void_lines) {
  const std::map<int64_t, StepNumber> newest = NewestLine(ledgers);
  Steps steps;
  for (size_t i = 0; i < ledgers.size(); ++i) {
    auto counted = newest.find(ledgers[i].lineage);
    for (Line& line : ledgers[i].lines) {
      if (counted == newest.end() || line.step > counted->second) {
        ++void_lines;
        continue;
      }
      std::vector<Listing>& listings = steps[line.step];
      if (listings.empty() || listings.back().ledger != i) listings.push_back({i, {}});
      listings.back().lines.push_back(std::move(line));
    }
  }
  return steps;
}

// Adds up listings, step after step.
class Tally {
 public:
  explicit Tally(LedgerCount& count)
      : count_(count), of_id_(static_cast<size_t>(count.samples_expected), 0) {}

  void Add(const std::vector<Listing>& listings);
  // After the last step: fills in the counters.
  void Finish();

 private:
  static constexpr uint32_t kConsumed = 1u << 31;
  // Where the ledgers agree on one line, which is nearly always.
  bool Agree(const std::vector<Listing>& listings) const;
  void AddOne(StepNumber step, int epoch, int64_t id, uint32_t times, bool consumed);
  void AddDisputed(const std::vector<Listing>& listings);
  void Describe(const std::vector<Listing>& listings, bool agree);

  LedgerCount& count_;
  // By epoch and id: how often it was listed, and kConsumed.
  std::vector<uint32_t> of_id_;
};

bool Tally::Agree(const std::vector<Listing>& listings) const {
  const Line& first = listings.front().lines.front();
  return std::all_of(listings.begin(), listings.end(), [&](const Listing& listing) {
    return listing.lines.size() == 1 && listing.lines[0].epoch == first.epoch &&
           listing.lines[0].ids == first.ids;
  });
}

void Tally::AddOne(StepNumber step, int epoch, int64_t id, uint32_t times, bool consumed) {
  const LedgerExpectation& expected = count_.expected;
  if (epoch < 1 || epoch > expected.epochs || id < 0 || id >= expected.samples) {
    count_.out_of_range += times;
    if (count_.out_of_range_examples.size() < kExamples) {
      count_.out_of_range_examples.push_back("id " + std::to_string(id) + " in step " +
                                             std::to_string(step) + " of epoch " +
                                             std::to_string(epoch));
    }
    return;
  }
  uint32_t& slot = of_id_[static_cast<size_t>((epoch - 1) * expected.samples + id)];
  slot += times;
  if (consumed) slot |= kConsumed;
}

void Tally::AddDisputed(const std::vector<Listing>& listings) {
  struct Claims {
    size_t ledgers = 0;  // that list it
    uint32_t most = 0;   // times, in one ledger
  };
  std::map<std::pair<int, int64_t>, Claims> claims;
  for (const Listing& listing : listings) {
    std::map<std::pair<int, int64_t>, uint32_t> times;
    for (const Line& line : listing.lines) {
      for (int64_t id : line.ids) ++times[{line.epoch, id}];
    }
    for (const auto& [key, n] : times) {
      Claims& claim = claims[key];
      ++claim.ledgers;
      claim.most = std::max(claim.most, n);
    }
  }
  StepNumber step = listings.front().lines.front().step;
  for (const auto& [key, claim] : claims) {
    AddOne(step, key.first, key.second, claim.most, claim.ledgers == listings.size());
  }
}

void Tally::Describe(const std::vector<Listing>& listings, bool agree) {
  const Line& first = listings.front().lines.front();
  const std::string& name = count_.ledgers[listings.front().ledger];
  for (const Listing& listing : listings) {
    const std::string& other = count_.ledgers[listing.ledger];
    std::string what;
    if (listing.lines.size() > 1) {
      what = "stands " + std::to_string(listing.lines.size()) + " times in " + other;
    } else if (listing.lines[0].epoch != first.epoch) {
      what = "the epoch differs between " + name + " and " + other;
    } else if (!agree && listing.lines[0].ids != first.ids) {
      what = "the samples differ between " + name + " and " + other;
    } else if (listing.lines[0].generation != first.generation) {
      what = "the generation differs between " + name + " (" + std::to_string(first.generation) +
             ") and " + other + " (" + std::to_string(listing.lines[0].generation) + ")";
    } else {
      continue;
    }
    count_.conflicts.push_back({first.step, std::move(what)});
    return;
  }
}

void Tally::Add(const std::vector<Listing>& listings) {
  bool agree = Agree(listings);
  Describe(listings, agree);
  const Line& line = listings.front().lines.front();
  // A line that lists an id twice counts it twice; AddOne adds, so there is nothing to do for it.
  if (agree) {
    for (int64_t id : line.ids) AddOne(line.step, line.epoch, id, 1, true);
  } else {
    AddDisputed(listings);
  }
}

void Tally::Finish() {
  const uint32_t* slot = of_id_.data();
  for (int epoch = 1; epoch <= count_.expected.epochs; ++epoch) {
    EpochCount row{.epoch = epoch};
    for (int64_t id = 0; id < count_.expected.samples; ++id, ++slot) {
      uint32_t listed = *slot & ~kConsumed;
      ++((*slot & kConsumed) != 0 ? row.consumed : row.lost);
      if (listed > 1) row.duplicated += listed - 1;
    }
    count_.samples_consumed += row.consumed;
    count_.samples_lost += row.lost;
    count_.samples_duplicated += row.duplicated;
    count_.epochs.push_back(row);
  }
}

// Adds those of `folder`.
Status ReadLedgers(Files& files, const std::string& folder, std::vector<Ledger>& ledgers,
                   LedgerCount& count) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files.List(folder));
  const size_t before = ledgers.size();
  for (const std::string& name : names) {
    if (!name.starts_with("ledger.") || !name.ends_with(".txt")) continue;
    ASSIGN_OR_RETURN(std::string text, files.Read(folder + "/" + name));
    bool torn = false;
    ASSIGN_OR_RETURN(Ledger ledger, ReadLedger(text, folder + "/" + name, torn));
    ledgers.push_back(std::move(ledger));
    if (torn) count.torn.push_back(name);
    count.ledgers.push_back(name);
  }
  if (ledgers.size() == before) return Unavailable("no ledger (ledger.*.txt) in " + folder);
  return OkStatus();
}

void FindMissing(const Steps& steps, LedgerCount& count) {
  StepNumber next = 1;
  for (const auto& [step, listings] : steps) {
    if (step > next) {
      count.missing_steps += static_cast<int64_t>(step - next);
      if (count.missing_ranges.size() < kExamples) {
        std::string last = step - 1 > next ? "-" + std::to_string(step - 1) : "";
        count.missing_ranges.push_back(std::to_string(next) + last);
      }
    }
    next = step + 1;
  }
  count.last_step = next - 1;
}

std::string Joined(const std::vector<std::string>& parts) {
  std::string joined;
  for (const std::string& part : parts) joined += (joined.empty() ? "" : ", ") + part;
  return joined;
}

}  // namespace

Result<LedgerCount> CountLedgers(Files& files, const std::vector<std::string>& folders,
                                 const LedgerExpectation& expected) {
  if (expected.samples <= 0 || expected.epochs <= 0) {
    return InvalidArgument("samples and epochs must be positive");
  }
  if (expected.samples > kMostSamples / expected.epochs) {
    return ResourceExhausted(
        "too many samples x epochs to count at once: " + std::to_string(expected.samples) + " x " +
        std::to_string(expected.epochs));
  }
  LedgerCount count;
  count.expected = expected;
  count.samples_expected = expected.samples * expected.epochs;
  std::vector<Ledger> ledgers;
  for (const std::string& folder : folders) {
    RETURN_IF_ERROR(ReadLedgers(files, folder, ledgers, count));
  }
  int64_t newest_lineage = 0;
  for (const Ledger& ledger : ledgers) {
    if (ledger.lineage > newest_lineage) count.resumed_from = ledger.from_step;
    newest_lineage = std::max(newest_lineage, ledger.lineage);
  }
  const Steps steps = ByStep(std::move(ledgers), count.void_lines);
  FindMissing(steps, count);
  Tally tally(count);
  for (const auto& [step, listings] : steps) tally.Add(listings);
  tally.Finish();
  return count;
}

std::string LedgerCountText(const LedgerCount& count) {
  char row[160];
  std::string text;
  auto add = [&](const char* name, int64_t expected, int64_t consumed, int64_t lost,
                 int64_t twice) {
    std::snprintf(row, sizeof(row), "%-8s %12lld %12lld %12lld %12lld\n", name,
                  static_cast<long long>(expected), static_cast<long long>(consumed),
                  static_cast<long long>(lost), static_cast<long long>(twice));
    text += row;
  };
  std::snprintf(row, sizeof(row), "%-8s %12s %12s %12s %12s\n", "epoch", "expected", "consumed",
                "lost", "duplicated");
  text += row;
  for (const EpochCount& epoch : count.epochs) {
    add(std::to_string(epoch.epoch).c_str(), count.expected.samples, epoch.consumed, epoch.lost,
        epoch.duplicated);
  }
  add("all", count.samples_expected, count.samples_consumed, count.samples_lost,
      count.samples_duplicated);
  text += std::to_string(count.ledgers.size()) + " ledgers, " + std::to_string(count.last_step) +
          " steps\n";
  if (count.out_of_range > 0) {
    text += "out of range: " + std::to_string(count.out_of_range) + " (" +
            Joined(count.out_of_range_examples) + ")\n";
  }
  if (count.missing_steps > 0) {
    text += "steps in no ledger: " + std::to_string(count.missing_steps) + " (" +
            Joined(count.missing_ranges) + ")\n";
  }
  for (size_t i = 0; i < std::min(count.conflicts.size(), kExamples); ++i) {
    text +=
        "step " + std::to_string(count.conflicts[i].step) + ": " + count.conflicts[i].what + "\n";
  }
  if (count.conflicts.size() > kExamples) {
    text += "... and " + std::to_string(count.conflicts.size() - kExamples) + " more conflicts\n";
  }
  if (count.void_lines > 0) {
    text += "lines that never happened, as the run went on from a checkpoint before them: " +
            std::to_string(count.void_lines) + "\n";
  }
  for (const std::string& name : count.torn) text += "torn last line ignored: " + name + "\n";
  return text;
}

std::string LedgerCountJson(const LedgerCount& count) {
  nlohmann::ordered_json json = {{"samples_expected", count.samples_expected},
                                 {"samples_consumed", count.samples_consumed},
                                 {"samples_lost", count.samples_lost},
                                 {"samples_duplicated", count.samples_duplicated},
                                 {"samples_out_of_range", count.out_of_range},
                                 {"last_step", count.last_step},
                                 {"missing_steps", count.missing_steps},
                                 {"void_lines", count.void_lines},
                                 {"resumed_from", count.resumed_from},
                                 {"ledgers", count.ledgers}};
  auto& epochs = json["epochs"] = nlohmann::ordered_json::array();
  for (const EpochCount& row : count.epochs) {
    epochs.push_back({{"epoch", row.epoch},
                      {"consumed", row.consumed},
                      {"lost", row.lost},
                      {"duplicated", row.duplicated}});
  }
  auto& conflicts = json["conflicts"] = nlohmann::ordered_json::array();
  for (const LedgerConflict& conflict : count.conflicts) {
    conflicts.push_back({{"step", conflict.step}, {"what", conflict.what}});
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace closeranks::telemetry
