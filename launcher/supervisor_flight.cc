// What the workers' flight recorders hold, and what they notice about themselves, is put on record.
#include <fcntl.h>

#include <algorithm>
#include <memory>
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
  records_disk_->Start([&files = files_, path,
                        line = "member " + std::to_string(slot.member) + " " + notice.text + "\n"] {
    auto write = [&]() -> Status {
      ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, files.OpenForAppend(path));
      return file->Append(line);
    };
    Status written = write();
    LOG_IF(WARNING, !written.ok()) << path << ": " << written.message();
  });
  if (notice.hangs)
    DumpFlights(Incident::kStuck, "member " + std::to_string(slot.member) + " is stuck");
}

void Supervisor::DumpFlights(Incident incident, const std::string& why) {
  if (CopyFlights(incident, why)) WriteFlights();
}

void Supervisor::DumpFlightsLater(Incident incident, const std::string& why) {
  if (CopyFlights(incident, why)) WriteFlightsLater();
}

bool Supervisor::CopyFlights(Incident incident, const std::string& why) {
  const TimePoint now = clock_.Now();
  if (incident != Incident::kAsked) {
    // Who is lost from a new world wasn't lost with somebody of the one before.
    const Generation world = incident == Incident::kLostWorker ? NewestGeneration() : 0;
    Copied& copied = flights_copied_[incident];
    const bool is_recent = copied.when != TimePoint{} && now - copied.when < kOfOneCause;
    if (is_recent && copied.world == world) return false;
    copied = {now, world};
  }
  if (options_.report_folder.empty()) {
    LOG_IF(WARNING, !why.empty()) << why
                                  << ", but without --report there is no folder for flight records";
    return false;
  }
  for (const auto& [member, slot] : slots_) {
    if (slot.child != nullptr && slot.flight) CopyFlight(slot);
  }
  if (!why.empty()) flights_why_ = why;
  return true;
}

Generation Supervisor::NewestGeneration() const {
  Generation newest = 0;
  for (const MemberId member : options_.host.members) {
    const rendezvous::DecisionRef& decision = host_->agent(member)->membership().decision();
    if (decision != nullptr) newest = std::max(newest, decision->generation);
  }
  return newest;
}

void Supervisor::DumpFlightsOfLoss(Slot& slot, const std::string& why) {
  if (!std::exchange(slot.is_recorded, true)) DumpFlightsLater(Incident::kLostWorker, why);
}

void Supervisor::DumpFlightLater(Slot& slot) {
  if (options_.report_folder.empty() || !slot.flight) return;
  CopyFlight(slot);
  slot.flight.Reset();
  WriteFlightsLater();
}

void Supervisor::CopyFlight(const Slot& slot) {
  auto newest = telemetry::CopyNewestOfFlight(slot.flight, clock_.Now());
  if (newest.ok()) {
    UniqueFd memory(fcntl(slot.flight.get(), F_DUPFD_CLOEXEC, 0));
    flights_[{slot.member, slot.incarnation}] = {std::make_shared<UniqueFd>(std::move(memory)),
                                                 *std::move(newest)};
  } else {
    LOG(WARNING) << "the flight record of member " << slot.member << ": " << newest.status();
  }
}

// Those who agree on going on are to have the processors.
void Supervisor::WriteFlightsLater() {
  loop_.Cancel(write_flights_);
  write_flights_ = loop_.RunAfter(kAfterTheAgreement, [this] { WriteFlights(); });
}

void Supervisor::WriteFlights() {
  loop_.Cancel(write_flights_);
  if (flights_.empty() && flights_why_.empty()) return;
  records_disk_->Start([&files = files_, folder = options_.report_folder,
                        flights = std::exchange(flights_, {}),
                        why = std::exchange(flights_why_, "")] {
    for (const auto& [process, flight] : flights) {
      const std::string path = telemetry::FlightPath(folder, process);
      auto dump = telemetry::CopyFlight(*flight.memory, flight.newest);
      Status written = dump.ok() ? files.Replace(path, *dump) : dump.status();
      LOG_IF(WARNING, !written.ok()) << path << ": " << written.message();
    }
    // Who acts on this line finds them.
    LOG_IF(INFO, !why.empty()) << why << ": flight records are written; 'closeranks explain "
                               << folder << "' reads them";
  });
}

}  // namespace closeranks::launcher
