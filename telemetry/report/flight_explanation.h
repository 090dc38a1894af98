// What the flight records of a job's ranks say together: who is missing or slow, at which
// operation, who waits for it, and since when.
#ifndef CLOSERANKS_TELEMETRY_REPORT_FLIGHT_EXPLANATION_H_
#define CLOSERANKS_TELEMETRY_REPORT_FLIGHT_EXPLANATION_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "telemetry/flight_recorder.h"
#include "telemetry/records.h"

namespace closeranks::telemetry {

// The words for an operation's fingerprint.
using OperationName = std::function<std::string(const std::array<uint64_t, 2>& fingerprint)>;

// A paragraph about the newest generation that any of the records knows. The records may be of
// several hosts, and of several processes of a member; only times of one host are compared. `exits`
// are what the supervisors know of those that have ended: who was lost when its record was taken is
// told as such, and then nobody is blamed merely as there is no record of it.
std::string ExplainFlight(const std::vector<FlightRecord>& records,
                          const std::vector<WorkerExitEvent>& exits, const OperationName& name_of);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_FLIGHT_EXPLANATION_H_
