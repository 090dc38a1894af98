#include "telemetry/report/flight_explanation.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <sstream>

#include "telemetry/report/format_number.h"

namespace closeranks::telemetry {
namespace {

// A member of the newest generation, and what is known of it.
struct Seat {
  int rank = 0;
  MemberId member = -1;
  const FlightRecord* record = nullptr;        // null: none was found
  bool is_in_world = false;                    // the record knows the newest generation
  const FlightOperation* operation = nullptr;  // the one that is looked at; null: not begun
  std::optional<uint64_t> newest_sequence;     // that it has begun in this generation
  const WorkerExitEvent* exit = nullptr;       // null: it wasn't lost when its record was taken
};

const FlightWorld* WorldOf(const FlightRecord& record, Generation generation) {
  for (const FlightWorld& world : record.worlds) {
    if (world.generation == generation) return &world;
  }
  return nullptr;
}

const FlightWorld* NewestWorld(const std::vector<FlightRecord>& records) {
  const FlightWorld* newest = nullptr;
  for (const FlightRecord& record : records) {
    if (record.worlds.empty()) continue;
    const FlightWorld& last = record.worlds.back();
    if (newest == nullptr || last.generation > newest->generation) newest = &last;
  }
  return newest;
}

const WorkerExitEvent* LossOf(const FlightRecord& record,
                              const std::vector<WorkerExitEvent>& exits) {
  const std::string incarnation = record.process.incarnation.ToString();
  for (const WorkerExitEvent& exit : exits) {
    // What has no cause to be told was no loss. Both times are of the same host.
    if (exit.incarnation == incarnation && !exit.cause.empty() && exit.t_lost <= record.dumped) {
      return &exit;
    }
  }
  return nullptr;
}

std::vector<Seat> SeatsOf(const FlightWorld& world, const std::vector<FlightRecord>& records,
                          const std::vector<WorkerExitEvent>& exits) {
  std::vector<Seat> seats;
  for (size_t rank = 0; rank < world.members.size(); ++rank) {
    Seat seat;
    seat.rank = static_cast<int>(rank);
    seat.member = world.members[rank];
    for (const FlightRecord& record : records) {
      if (record.process.member != seat.member) continue;
      const FlightWorld* own = WorldOf(record, world.generation);
      const bool is_in_world = own != nullptr && own->rank == seat.rank;
      const bool is_newer = seat.record == nullptr || record.dumped > seat.record->dumped;
      if (seat.is_in_world ? !is_in_world : (!is_in_world && !is_newer)) continue;
      seat.record = &record;
      seat.is_in_world = is_in_world;
    }
    if (seat.is_in_world) seat.exit = LossOf(*seat.record, exits);
    seats.push_back(seat);
  }
  return seats;
}

bool IsUnderWay(const FlightOperation& operation) { return operation.ended == TimePoint{}; }

// The first operation of `generation` that somebody hasn't ended well.
std::optional<uint64_t> FirstUnfinished(const std::vector<Seat>& seats, Generation generation) {
  std::optional<uint64_t> first;
  for (const Seat& seat : seats) {
    if (!seat.is_in_world) continue;
    for (const FlightOperation& operation : seat.record->operations) {
      if (operation.generation != generation) continue;
      if (!IsUnderWay(operation) && operation.status == StatusCode::kOk) continue;
      first = std::min(first.value_or(operation.sequence), operation.sequence);
    }
  }
  return first;
}

void LookAt(std::vector<Seat>* seats, Generation generation, uint64_t sequence) {
  for (Seat& seat : *seats) {
    if (!seat.is_in_world) continue;
    for (const FlightOperation& operation : seat.record->operations) {
      if (operation.generation != generation) continue;
      seat.newest_sequence = operation.sequence;
      if (operation.sequence == sequence) seat.operation = &operation;
    }
  }
}

std::string Since(const FlightRecord& record, TimePoint when) {
  return "since " + FormatMilliseconds(ToMilliseconds(record.dumped - when));
}

std::string Named(const Seat& seat) {
  return "rank " + std::to_string(seat.rank) + " (member " + std::to_string(seat.member) + ")";
}

// "it computes, in step 57, since 31.2 s"
std::string Doing(const FlightRecord& record) {
  std::string text = "it " + std::string(ActivityText(record.activity));
  if (record.step > 0) text += ", in step " + std::to_string(record.step);
  return text + ", " + Since(record, record.active_since);
}

// "its worker was killed by signal 9 (Killed) in step 57; what it did last: it computes, in step
// 57, since 1.2 ms"
std::string Loss(const Seat& seat) {
  return "its worker " + seat.exit->cause + "; what it did last: " + Doing(*seat.record);
}

std::string RanksOf(const std::vector<const Seat*>& seats) {
  std::vector<int32_t> ranks;
  for (const Seat* seat : seats) ranks.push_back(seat->rank);
  return RankList(ranks);
}

// What each rank does, where no operation says more.
std::string Activities(const std::vector<Seat>& seats) {
  std::string text;
  for (const Seat& seat : seats) {
    text += " " + Named(seat);
    if (seat.exit != nullptr) {
      text += " is lost: " + Loss(seat) + ".";
    } else {
      text +=
          seat.record == nullptr ? ": there is no record of it." : ": " + Doing(*seat.record) + ".";
    }
  }
  return text;
}

// Of those that are known to be lost, or found to be by somebody.
std::set<int> LostRanks(const std::vector<Seat>& seats) {
  std::set<int> lost;
  for (const Seat& seat : seats) {
    if (seat.exit != nullptr) lost.insert(seat.rank);
    if (seat.operation != nullptr && seat.operation->suspected_rank >= 0) {
      lost.insert(seat.operation->suspected_rank);
    }
  }
  return lost;
}

void Explain(const std::vector<Seat>& seats, const OperationName& name_of, uint64_t sequence,
             std::ostream& out) {
  const std::set<int> lost = LostRanks(seats);
  std::vector<const Seat*> waiting, missing, unknown;
  const FlightOperation* some = nullptr;
  for (const Seat& seat : seats) {
    if (seat.operation != nullptr) {
      some = seat.operation;
      if (IsUnderWay(*seat.operation) && seat.exit == nullptr) waiting.push_back(&seat);
    } else if (seat.exit != nullptr) {
      continue;
    } else if (!seat.is_in_world && !lost.empty() && !lost.contains(seat.rank)) {
      unknown.push_back(&seat);
      // It may have begun it so long ago that the ring has forgotten.
    } else if (!seat.is_in_world || seat.newest_sequence.value_or(0) < sequence ||
               !seat.newest_sequence.has_value()) {
      missing.push_back(&seat);
    }
  }
  out << " Operation " << sequence << " (" << name_of(some->fingerprint) << ", "
      << FormatBytes(static_cast<int64_t>(some->bytes)) << ") isn't through.";
  for (const Seat& seat : seats) {
    if (seat.exit == nullptr) continue;
    out << " It lost " << Named(seat) << ", which "
        << (seat.operation != nullptr ? "had" : "hadn't") << " begun it: " << Loss(seat) << ".";
  }
  for (const Seat* seat : missing) {
    out << " It lacks " << Named(*seat) << ", ";
    if (seat->record == nullptr) {
      out << "of which there is no record.";
    } else if (!seat->is_in_world) {
      out << "which isn't in this generation yet: " << Doing(*seat->record) << ".";
    } else {
      out << "which hasn't begun it: " << Doing(*seat->record);
      if (seat->newest_sequence.has_value()) {
        out << "; the newest that it has begun is " << *seat->newest_sequence;
      }
      out << ".";
    }
  }
  if (!waiting.empty()) {
    const auto age = [](const Seat* seat) { return seat->record->dumped - seat->operation->begun; };
    const auto [last, first] =
        std::minmax_element(waiting.begin(), waiting.end(),
                            [&](const Seat* a, const Seat* b) { return age(a) < age(b); });
    out << " " << RanksOf(waiting) << (waiting.size() == 1 ? " waits" : " wait") << " for it, "
        << Since(*(*first)->record, (*first)->operation->begun);
    if (missing.empty() && last != first) {
      out << "; " << Named(**last) << " has begun it last, "
          << Since(*(*last)->record, (*last)->operation->begun);
    }
    out << ".";
  }
  if (!unknown.empty()) {
    out << " " << RanksOf(unknown) << (unknown.size() == 1 ? " has" : " have")
        << " no record of this generation.";
  }
  for (const Seat& seat : seats) {
    if (seat.operation == nullptr || IsUnderWay(*seat.operation)) continue;
    if (seat.operation->status == StatusCode::kOk) continue;
    out << " On " << Named(seat) << " it ended with " << StatusCodeName(seat.operation->status);
    if (seat.operation->suspected_rank >= 0) {
      out << ", because of rank " << seat.operation->suspected_rank;
    }
    out << ", " << FormatMilliseconds(ToMilliseconds(seat.operation->ended - seat.operation->begun))
        << " after its begin.";
  }
}

// Who was lost from the generation before, or from the newest before that from which somebody was.
void ExplainEarlierLosses(const std::vector<FlightRecord>& records,
                          const std::vector<WorkerExitEvent>& exits, Generation newest,
                          std::ostream& out) {
  std::vector<Seat> lost;
  Generation from = 0;
  for (const FlightRecord& record : records) {
    const WorkerExitEvent* exit = LossOf(record, exits);
    if (exit == nullptr || record.worlds.empty()) continue;
    const FlightWorld& last = record.worlds.back();
    if (last.generation >= newest || last.generation < from) continue;
    if (last.generation > from) lost.clear();
    from = last.generation;
    Seat& seat = lost.emplace_back();
    seat.rank = last.rank;
    seat.member = record.process.member;
    seat.record = &record;
    seat.exit = exit;
  }
  for (const Seat& seat : lost) {
    out << " Generation " << from << " lost " << Named(seat) << ": " << Loss(seat) << ".";
  }
}

}  // namespace

std::string ExplainFlight(const std::vector<FlightRecord>& records,
                          const std::vector<WorkerExitEvent>& exits, const OperationName& name_of) {
  std::ostringstream out;
  const FlightWorld* world = NewestWorld(records);
  if (world == nullptr) {
    out << "No rank has been in a world yet.";
    for (const FlightRecord& record : records) {
      out << " Member " << record.process.member << ": " << Doing(record) << ".";
    }
    return out.str();
  }
  std::vector<Seat> seats = SeatsOf(*world, records, exits);
  out << "Generation " << world->generation << " has " << Counted(world->size, "rank", "ranks")
      << ".";
  if (const auto sequence = FirstUnfinished(seats, world->generation)) {
    LookAt(&seats, world->generation, *sequence);
    Explain(seats, name_of, *sequence, out);
  } else {
    out << " No operation of it is under way." << Activities(seats);
  }
  ExplainEarlierLosses(records, exits, world->generation, out);
  return out.str();
}

}  // namespace closeranks::telemetry
