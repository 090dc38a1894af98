// What the workers' flight recorders hold, and what they notice about themselves, is put on record.
#include <utility>

#include "glog/logging.h"
#include "launcher/supervisor.h"
#include "telemetry/flight_recorder.h"
#include "telemetry/records.h"

namespace closeranks::launcher {
namespace {

// Agreement without the dead one takes a few milliseconds.
constexpr Duration kAfterTheAgreement = std::chrono::milliseconds(100);
// Where one operation hangs, every rank that waits for it says so.
constexpr Duration kOfOneCause = std::chrono::seconds(1);

}  // namespace

void Supervisor::OnNotice(Slot& slot, const rendezvous::Notice& notice) {
  host_->TellNotice(slot.member, notice.text);
  if (options_.report_folder.empty()) return;
  const std::string path =
      telemetry::NoticesPath(options_.report_folder, {slot.member, slot.incarnation});
  auto write = [&]() -> Status {
    ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, files_.OpenForAppend(path));
    return file->Append("member " + std::to_string(slot.member) + " " + notice.text + "\n");
  };
  Status written = write();
  LOG_IF(WARNING, !written.ok()) << path << ": " << written.message();
  if (notice.hangs) DumpFlights("member " + std::to_string(slot.member) + " is stuck");
}

void Supervisor::DumpFlights(const std::string& why, bool always) {
  const TimePoint now = clock_.Now();
  if (!always && flights_written_ != TimePoint{} && now - flights_written_ < kOfOneCause) return;
  flights_written_ = now;
  if (options_.report_folder.empty()) {
    LOG(WARNING) << why << ", but without --report there is no folder for flight records";
    return;
  }
  LOG(INFO) << why << ": writing flight records; 'closeranks explain " << options_.report_folder
            << "' reads them";
  for (const auto& [member, slot] : slots_) {
    if (slot.child != nullptr && slot.flight) {
      WriteFlight({member, slot.incarnation}, slot.flight);
    }
  }
}

void Supervisor::DumpFlightLater(Slot& slot) {
  if (options_.report_folder.empty() || !slot.flight) return;
  flights_of_the_dead_.emplace_back(MemberProcess{slot.member, slot.incarnation},
                                    std::move(slot.flight));
  loop_.Cancel(write_flights_);
  write_flights_ = loop_.RunAfter(kAfterTheAgreement, [this] { WriteFlightsOfTheDead(); });
}

void Supervisor::WriteFlightsOfTheDead() {
  for (const auto& [process, memory] : std::exchange(flights_of_the_dead_, {})) {
    WriteFlight(process, memory);
  }
}

// Not synced, which may take long: a supervisor that waits for the disk is taken for a dead one.
void Supervisor::WriteFlight(const MemberProcess& process, const UniqueFd& memory) {
  const std::string path = telemetry::FlightPath(options_.report_folder, process);
  auto write = [&]() -> Status {
    ASSIGN_OR_RETURN(std::string dump, telemetry::CopyFlightMemory(memory, clock_.Now()));
    RETURN_IF_ERROR(files_.Remove(path));
    ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, files_.OpenForAppend(path));
    return file->Append(dump);
  };
  Status written = write();
  LOG_IF(WARNING, !written.ok()) << path << ": " << written.message();
}

}  // namespace closeranks::launcher
