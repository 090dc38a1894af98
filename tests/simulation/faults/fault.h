// Something that goes wrong with a simulated job: one kind a file, and a job has any number of
// them, at once and one after the other.
#ifndef CLOSERANKS_TESTS_SIMULATION_FAULTS_FAULT_H_
#define CLOSERANKS_TESTS_SIMULATION_FAULTS_FAULT_H_

#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/member.h"
#include "base/random.h"

namespace closeranks::simulation {

class SystemWorld;

// How a job may be struck.
enum class Faults {
  // By any number of faults at once, but always somebody is spared who has the state, no host is
  // lost, and nothing lasts long enough to be given up.
  kSparing,
  // By one after the other, each once all are together again: any one host may be lost, for good
  // too, and any link, and the hosts may be parted.
  kOneAtATime,
  // By any number of anything. Only such a job may come to an end without being trained.
  kWild,
};

struct JobShape {
  int hosts = 2;
  int members_per_host = 1;
  bool has_witness = false;  // the last host, which has no workers
  // That make the first generation; the others come in when they are there.
  int starting_hosts = 2;
  int least_hosts = 1;     // with fewer nothing is trained
  int most_computing = 0;  // of the members; 0: all
  Faults faults = Faults::kSparing;
  // Of kSparing: a member whose worker is never killed or stopped.
  MemberId spared = 0;

  bool is_wild() const { return faults == Faults::kWild; }
  // That have a worker.
  int members() const { return (hosts - (has_witness ? 1 : 0)) * members_per_host; }
  int starting_members() const { return starting_hosts * members_per_host; }
  int HostOf(MemberId member) const { return member / members_per_host; }
  // Ones that may be struck.
  int DrawHost(Random& random) const {
    const auto drawn = static_cast<int>(random.Below(hosts));
    return faults == Faults::kSparing && drawn == HostOf(spared) ? (drawn + 1) % hosts : drawn;
  }
  MemberId DrawMember(Random& random) const {
    const auto drawn = static_cast<MemberId>(random.Below(members()));
    return faults == Faults::kSparing && drawn == spared ? (drawn + 1) % members() : drawn;
  }
};

class Fault {
 public:
  virtual ~Fault() = default;
  // "kills worker 2"
  virtual std::string Text() const = 0;
  virtual void Begin(SystemWorld& world) = 0;
  // After its length; also when all faults end.
  virtual void End(SystemWorld&) {}
};

// What it strikes is drawn here, so that the schedule is known before the job runs.
using DrawFault = std::unique_ptr<Fault> (*)(Random& random, const JobShape& shape);

struct FaultKind {
  DrawFault draw;
  // Which jobs it may strike beside the wild ones.
  bool sparing;
  bool one_at_a_time;
};
std::span<const FaultKind> FaultKinds();

std::unique_ptr<Fault> DrawKillWorker(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawKillAllOthers(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawStrikeAtPoint(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawKillHost(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawStartAgain(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawLeave(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawStopWorker(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawStopSupervisor(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawCutLink(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawClogLink(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawResetLink(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawSlowLink(Random& random, const JobShape& shape);
std::unique_ptr<Fault> DrawPartition(Random& random, const JobShape& shape);

}  // namespace closeranks::simulation

#endif  // CLOSERANKS_TESTS_SIMULATION_FAULTS_FAULT_H_
