// Counts from ledger files what became of every sample. Knows the format of a ledger line
// (records.h) and nothing of how samples are ordered or handed out: what it says doesn't rest on
// the code it judges.
#ifndef CLOSERANKS_TELEMETRY_REPORT_LEDGER_COUNT_H_
#define CLOSERANKS_TELEMETRY_REPORT_LEDGER_COUNT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/member.h"
#include "base/status.h"

namespace closeranks::telemetry {

// What the run was to do: each id of [0, samples) once in each epoch of [1, epochs].
struct LedgerExpectation {
  int64_t samples = 0;
  int epochs = 0;
};

// A step about which ledgers disagree.
struct LedgerConflict {
  StepNumber step = 0;
  std::string what;  // for people: "samples differ between ledger.0.x.txt and ledger.1.y.txt"
};

struct EpochCount {
  int epoch = 0;
  int64_t consumed = 0;    // ids of [0, samples) that every ledger of some step lists
  int64_t lost = 0;        // the other ids of [0, samples)
  int64_t duplicated = 0;  // how often ids were listed beyond their first time
};

// Ledgers hold the same lines for the steps that they share. Where they don't, nobody can say which
// one is right, so both counters take the worst: an id counts as consumed in a step only if ALL
// ledgers that hold the step list it, and as often as the ledger that lists it MOST often.
struct LedgerCount {
  LedgerExpectation expected;
  std::vector<std::string> ledgers;  // names of the files that were read
  // Lines that never happened, as a later start of the run went on from a step before them.
  int64_t void_lines = 0;
  StepNumber resumed_from = 0;  // the step that the newest start went on from; 0: from nothing
  StepNumber last_step = 0;
  int64_t samples_expected = 0;  // samples x epochs
  int64_t samples_consumed = 0;
  int64_t samples_lost = 0;
  int64_t samples_duplicated = 0;
  std::vector<EpochCount> epochs;
  // Entries whose id isn't in [0, samples) or whose epoch isn't in [1, epochs]: in all, and the
  // first few as "id 60000 in step 7 of epoch 1".
  int64_t out_of_range = 0;
  std::vector<std::string> out_of_range_examples;
  std::vector<LedgerConflict> conflicts;
  // Steps of [1, last_step] that no ledger holds: how many, and the first few gaps as "7" or
  // "12-14".
  int64_t missing_steps = 0;
  std::vector<std::string> missing_ranges;
  std::vector<std::string> torn;  // ledgers whose last line has no newline; it was ignored

  // Every sample of every epoch exactly once, and none that doesn't exist. Conflicts about samples
  // show in the counters; one about nothing but a step's generation doesn't.
  bool EachSampleOnce() const {
    return samples_lost == 0 && samples_duplicated == 0 && out_of_range == 0;
  }
  // And no step between the first and the last is without a record.
  bool Sound() const { return EachSampleOnce() && missing_steps == 0; }
};

// Reads all ledgers (ledger.*.txt) of `folders`, of which each is one supervisor's, whole, into
// memory. kUnavailable when one of the folders has none; kInvalidArgument, with file and line, for
// a line that isn't a ledger line.
Result<LedgerCount> CountLedgers(Files& files, const std::vector<std::string>& folders,
                                 const LedgerExpectation& expected);

// A small table for people, lines with newlines.
std::string LedgerCountText(const LedgerCount& count);
// The same as one JSON object: samples_expected, samples_consumed, ...
std::string LedgerCountJson(const LedgerCount& count);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_LEDGER_COUNT_H_
