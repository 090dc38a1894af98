// The record of which samples were consumed, one line a step, written only for steps that are
// stable.
//
// What is written is what happened: the ids ride with the step's reduction (each rank puts in those
// that it handed to the training function), so every rank's ledger has the samples of all ranks.
#ifndef CLOSERANKS_ELASTIC_LEDGER_H_
#define CLOSERANKS_ELASTIC_LEDGER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/member.h"
#include "base/status.h"
#include "elastic/lineage.h"

namespace closeranks::elastic {

// The samples of one step as they ride with the reduction: for each position of the global batch
// the sum over ranks of (id + 1) and of how many ranks computed it. Position p's numbers are at 2p
// and 2p + 1.
class StepSamples {
 public:
  explicit StepSamples(int batch = 0) : numbers_(2 * static_cast<size_t>(batch), 0) {}

  // This rank computes position `position` with sample `id`, from 0 to kMostSamples.
  void Put(int position, int64_t id);
  // So that sums are exact in doubles too, as which they travel.
  static constexpr int64_t kMostSamples = int64_t{1} << 52;

  int64_t* numbers() { return numbers_.data(); }
  const int64_t* numbers() const { return numbers_.data(); }
  size_t count() const { return numbers_.size(); }

  // The ids by position once summed over all ranks; kInternal names the first position that wasn't
  // computed exactly once.
  Result<std::vector<int64_t>> Ids() const;
  // Depends on every number.
  uint64_t Hash() const;

 private:
  std::vector<int64_t> numbers_;
};

// Used by the training thread only.
class Ledger {
 public:
  // Without a path nothing is written.
  Ledger() = default;
  static Result<Ledger> Open(Files& files, const std::string& path);

  // Where there are checkpoints, before the first step is written: who begins the run may be lost
  // before that, and another begins it anew, so the last one counts. Later: nothing.
  void BeginLineage(const Lineage& lineage);
  // Where there is a checkpoint though no step was written: whoever goes on from it is to know what
  // it came of. Errors are those of Stable.
  Status WriteLineage();
  // For any thread, also when the ledger is gone: syncs what was written before the call.
  std::function<Status()> MakeSync() const;
  // A step that was applied here, or whose state was received; not written yet, as it may still
  // turn out never to have happened. Nothing where it is written already.
  void Applied(StepNumber step, Generation generation, int epoch, std::span<const int64_t> ids);
  // Every listed worker holds `step`: it and what is before it is written. kResourceExhausted
  // when it can't be: this worker has to end then, as a step without its record must not leave it.
  Status Stable(StepNumber step);
  // What was applied after `step` never happened.
  void ForgetAfter(StepNumber step);
  // What isn't written yet, for the ledger of who receives the state: were its sources lost, it
  // would hold these steps without their record.
  std::string Unstable() const;
  // What another ledger's Unstable gave, up to `step`; empty for none. kInternal when it isn't
  // that.
  Status Take(std::string_view unstable, StepNumber step);

 private:
  struct Line {
    StepNumber step;
    std::string text;
  };
  Status Write(const std::string& text);

  std::shared_ptr<AppendFile> file_;
  std::string lineage_;    // to be written before the first step
  bool is_begun_ = false;  // something was written
  std::deque<Line> unstable_;
  StepNumber written_ = 0;  // the last
};

}  // namespace closeranks::elastic

#endif  // CLOSERANKS_ELASTIC_LEDGER_H_
