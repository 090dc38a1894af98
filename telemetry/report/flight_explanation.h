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

namespace closeranks::telemetry {

// The words for an operation's fingerprint.
using OperationName = std::function<std::string(const std::array<uint64_t, 2>& fingerprint)>;

// A paragraph about the newest generation that any of the records knows. The records may be of
// several hosts, and of several processes of a member; only times within one record are compared.
std::string ExplainFlight(const std::vector<FlightRecord>& records, const OperationName& name_of);

}  // namespace closeranks::telemetry

#endif  // CLOSERANKS_TELEMETRY_REPORT_FLIGHT_EXPLANATION_H_
