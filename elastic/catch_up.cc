#include "elastic/catch_up.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/bytes.h"
#include "base/random.h"

namespace closeranks::elastic {
namespace {

std::string EncodeRecord(const RankRecord& record) {
  ByteWriter writer;
  writer.Put(record.state.applied);
  writer.Put(record.state.reduced_in);
  writer.Put(record.state.hash);
  writer.PutString(EncodeParts(record.held));
  writer.Put(static_cast<uint8_t>(record.keeps_step));
  writer.Put(static_cast<uint8_t>(record.leaves));
  return std::move(writer).bytes();
}

Result<RankRecord> DecodeRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  RankRecord record;
  record.state.applied = reader.Get<StepNumber>();
  record.state.reduced_in = reader.Get<Generation>();
  record.state.hash = reader.Get<uint64_t>();
  std::string parts = reader.GetString();
  record.keeps_step = reader.Get<uint8_t>() != 0;
  record.leaves = reader.Get<uint8_t>() != 0;
  if (reader.failed()) return Internal("a malformed record of a rank");
  ASSIGN_OR_RETURN(record.held, DecodeParts(parts));
  return record;
}

}  // namespace

Result<std::vector<std::string>> GatherBytes(Communicator& communicator, std::string mine) {
  const size_t ranks = static_cast<size_t>(communicator.size());
  // They differ in length, so the lengths go first.
  int64_t length = static_cast<int64_t>(mine.size());
  std::vector<int64_t> lengths(ranks);
  RETURN_IF_ERROR(communicator.AllGather(&length, lengths.data(), 1, DataType::kInt64).Wait());
  size_t longest = static_cast<size_t>(*std::max_element(lengths.begin(), lengths.end()));
  mine.resize(longest);
  std::string all(longest * ranks, '\0');
  RETURN_IF_ERROR(
      communicator.AllGather(mine.data(), all.data(), longest, DataType::kUint8).Wait());
  std::vector<std::string> gathered;
  for (size_t rank = 0; rank < ranks; ++rank) {
    gathered.push_back(all.substr(rank * longest, static_cast<size_t>(lengths[rank])));
  }
  return gathered;
}

Result<std::vector<RankRecord>> ExchangeRecords(Communicator& communicator,
                                                const RankRecord& mine) {
  ASSIGN_OR_RETURN(std::vector<std::string> gathered,
                   GatherBytes(communicator, EncodeRecord(mine)));
  std::vector<RankRecord> records;
  for (const std::string& bytes : gathered) {
    ASSIGN_OR_RETURN(RankRecord record, DecodeRecord(bytes));
    records.push_back(std::move(record));
  }
  return records;
}

rendezvous::WorkerState StateAfter(rendezvous::WorkerState state, StepNumber step,
                                   Generation generation, const StepSamples& samples) {
  state.applied = step;
  state.reduced_in = generation;
  state.hash = MixBits(MixBits(state.hash ^ step) ^ MixBits(generation) ^ samples.Hash());
  return state;
}

bool CatchUpPlan::AnyoneIs(Standing standing) const {
  return std::find(standings.begin(), standings.end(), standing) != standings.end();
}

bool CatchUpPlan::IsBegun() const {
  return std::any_of(held.begin(), held.end(), [](const Parts& parts) { return !parts.empty(); });
}

Result<CatchUpPlan> PlanCatchUp(const rendezvous::Decision& decision,
                                std::span<const RankRecord> records) {
  CatchUpPlan plan;
  for (size_t rank = 0; rank < records.size(); ++rank) {
    const rendezvous::WorkerState& state = records[rank].state;
    Standing standing = Standing::kNeedsState;
    if (state == decision.resume) {
      standing = Standing::kCurrent;
      if (plan.source < 0) plan.source = static_cast<int>(rank);
      if (plan.step_source < 0 && records[rank].keeps_step) {
        plan.step_source = static_cast<int>(rank);
      }
    } else if (state.applied > 0 && state.applied + 1 == decision.resume.applied &&
               decision.NeededBy(state) == rendezvous::CatchUp::kMissingSteps) {
      // Before its first step a newcomer looks like a survivor, but has an initialisation of its
      // own.
      standing = Standing::kOneBehind;
    }
    plan.standings.push_back(standing);
    plan.held.push_back(standing == Standing::kCurrent ? records[rank].held : Parts{});
  }
  if (plan.source < 0) {
    return Internal("no rank holds step " + std::to_string(decision.resume.applied) +
                    ", which generation " + std::to_string(decision.generation) + " resumes from");
  }
  // Before the first step all states look alike but come from separate initialisations: the
  // source's counts.
  if (decision.resume.applied == 0) {
    for (size_t rank = 0; rank < records.size(); ++rank) {
      if (static_cast<int>(rank) == plan.source) continue;
      plan.standings[rank] = Standing::kNeedsState;
      plan.held[rank].clear();
    }
  }
  if (plan.step_source < 0) {
    std::replace(plan.standings.begin(), plan.standings.end(), Standing::kOneBehind,
                 Standing::kNeedsState);
  }
  DropRepeated(&plan.held);
  return plan;
}

}  // namespace closeranks::elastic
