// What must hold of a whole job, whatever fails: it watches workers and ledgers from outside and
// knows everything that ever happened.
#ifndef CLOSERANKS_TESTS_SIMULATION_SYSTEM_CHECKER_H_
#define CLOSERANKS_TESTS_SIMULATION_SYSTEM_CHECKER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/member.h"
#include "rendezvous/decision.h"
#include "telemetry/flight_recorder.h"

namespace closeranks::simulation {

class SystemChecker {
 public:
  // The first violation; empty: none.
  const std::string& violation() const { return violation_; }
  void Fail(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  // A worker, whose process it is, is in `decision`'s world, at `step`, with weights of that hash.
  void Entered(const std::string& worker, const MemberProcess& process,
               const rendezvous::Decision& decision, StepNumber step, uint64_t weights_hash);
  // It applied `step`, which was reduced in `generation`.
  void Applied(const std::string& worker, const rendezvous::Decision& decision, StepNumber step,
               uint64_t weights_hash);
  // It has come to the end of the run.
  void Trained(const std::string& worker, const MemberProcess& process, uint64_t weights_hash);
  // `process` holds so many sockets, and can need no more than `most`, whatever it came through.
  void Holds(const std::string& process, size_t sockets, size_t most);
  // What a worker has to say of its operations as it ends, each of which has `limit`.
  void Operated(const std::string& worker, const telemetry::FlightRecord& record, Duration limit);

  // At the end: the ledgers in `folder` never contradict each other, and hold no sample twice;
  // `complete`: and every sample of the run.
  void CheckLedgers(Files& files, const std::string& folder, int samples, int epochs,
                    bool complete);
  // The same of each lineage's by themselves, where each began from nothing: complete, if one of
  // its workers came to the end of the run.
  void CheckLedgersOfEachLineage(Files& files, const std::string& folder, int samples, int epochs);
  // Those who came to the end have these weights.
  void CheckWeights(uint64_t expected);

  size_t lineages() const { return lineages_.size(); }
  size_t generations() const { return generations_.size(); }
  size_t steps() const { return weights_.size(); }
  size_t trained() const { return trained_.size(); }

 private:
  // Within a lineage.
  using Of = std::pair<Incarnation, uint64_t>;

  std::string violation_;
  std::map<Incarnation, std::set<MemberProcess>> lineages_;  // and the workers that were in each
  std::set<MemberProcess> trained_processes_;
  std::map<Of, std::string> generations_;  // what was decided, in words
  // (lineage, step and the generation that reduced it) -> the weights after it, and who said so.
  std::map<std::pair<Of, Generation>, std::pair<uint64_t, std::string>> weights_;
  std::map<std::string, uint64_t> trained_;
};

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_SYSTEM_CHECKER_H_
