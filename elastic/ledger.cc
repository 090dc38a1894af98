#include "elastic/ledger.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/random.h"
#include "glog/logging.h"
#include "telemetry/records.h"

namespace closeranks::elastic {

void StepSamples::Put(int position, int64_t id) {
  CHECK(id >= 0 && id < kMostSamples) << "sample " << id;
  numbers_[2 * static_cast<size_t>(position)] = id + 1;
  numbers_[2 * static_cast<size_t>(position) + 1] = 1;
}

Result<std::vector<int64_t>> StepSamples::Ids() const {
  std::vector<int64_t> ids;
  ids.reserve(numbers_.size() / 2);
  for (size_t i = 0; i < numbers_.size(); i += 2) {
    if (numbers_[i + 1] != 1) {
      return Internal("position " + std::to_string(i / 2) + " of the batch was computed " +
                      std::to_string(numbers_[i + 1]) + " times instead of once");
    }
    ids.push_back(numbers_[i] - 1);
  }
  return ids;
}

uint64_t StepSamples::Hash() const {
  uint64_t hash = numbers_.size();
  for (int64_t number : numbers_) hash = MixBits(hash ^ static_cast<uint64_t>(number));
  return hash;
}

Result<Ledger> Ledger::Open(Files& files, const std::string& path) {
  Ledger ledger;
  ASSIGN_OR_RETURN(ledger.file_, files.OpenForAppend(path));
  return ledger;
}

void Ledger::BeginLineage(const Lineage& lineage) {
  if (file_ == nullptr || is_begun_) return;
  lineage_ = telemetry::LineageLine(lineage.number, lineage.parent, lineage.step);
}

Status Ledger::WriteLineage() {
  if (file_ == nullptr || lineage_.empty()) return OkStatus();
  return Write(std::exchange(lineage_, ""));
}

Status Ledger::Write(const std::string& text) {
  is_begun_ = true;
  Status written = file_->Append(text);
  if (written.ok()) return written;
  return ResourceExhausted(written.message() +
                           "; make room there, or choose another folder for the records");
}

std::function<Status()> Ledger::MakeSync() const {
  return [file = file_] { return file == nullptr ? OkStatus() : file->Sync(); };
}

void Ledger::Applied(StepNumber step, Generation generation, int epoch,
                     std::span<const int64_t> ids) {
  if (file_ == nullptr || step <= written_) return;
  unstable_.push_back({step, telemetry::LedgerLine(step, generation, epoch, ids)});
#ifdef CLOSERANKS_PLANT_RECORD_BEFORE_STABLE
  static_cast<void>(Stable(step).ok());
#endif
}

Status Ledger::Stable(StepNumber step) {
  while (!unstable_.empty() && unstable_.front().step <= step) {
    RETURN_IF_ERROR(Write(lineage_ + unstable_.front().text));
    lineage_.clear();
    written_ = unstable_.front().step;
    unstable_.pop_front();
  }
  return OkStatus();
}

std::string Ledger::Unstable() const {
  ByteWriter writer;
  writer.Put(static_cast<uint32_t>(unstable_.size()));
  for (const Line& line : unstable_) {
    writer.Put(line.step);
    writer.PutString(line.text);
  }
  return std::move(writer).bytes();
}

Status Ledger::Take(std::string_view unstable, StepNumber step) {
  if (file_ == nullptr || unstable.empty()) return OkStatus();
  ByteReader reader(unstable);
  const auto count = reader.Get<uint32_t>();
  for (uint32_t i = 0; i < count && !reader.failed(); ++i) {
    Line line{reader.Get<StepNumber>(), reader.GetString()};
    if (reader.failed()) break;
    const auto next = std::find_if(unstable_.begin(), unstable_.end(),
                                   [&](const Line& other) { return other.step >= line.step; });
    const bool is_known = next != unstable_.end() && next->step == line.step;
    if (line.step > written_ && line.step <= step && !is_known)
      unstable_.insert(next, std::move(line));
  }
  return reader.failed() ? Internal("a malformed part of a ledger") : OkStatus();
}

void Ledger::ForgetAfter(StepNumber step) {
#ifndef CLOSERANKS_PLANT_UNDONE_RECORD_KEPT
  while (!unstable_.empty() && unstable_.back().step > step) unstable_.pop_back();
#endif
}

}  // namespace closeranks::elastic
