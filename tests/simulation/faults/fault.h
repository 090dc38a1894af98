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

struct JobShape {
  int hosts = 2;
  int members_per_host = 1;
  bool has_witness = false;  // the last host, which has no workers
  // That make the first generation; the others come in when they are there.
  int starting_hosts = 2;
  int least_hosts = 1;     // with fewer nothing is trained
  int most_computing = 0;  // of the members; 0: all
  // Whether what must stay for the job to go on may be struck too: more than one host at a time,
  // or for longer than it takes to be given up.
  bool is_wild = false;

  // Of a job that isn't wild: a member whose worker is never killed or stopped, so that somebody
  // always has the state.
  MemberId spared = 0;

  // That have a worker.
  int members() const { return (hosts - (has_witness ? 1 : 0)) * members_per_host; }
  int starting_members() const { return starting_hosts * members_per_host; }
  int HostOf(MemberId member) const { return member / members_per_host; }
  // Ones that may be struck.
  int DrawHost(Random& random) const {
    const auto drawn = static_cast<int>(random.Below(hosts));
    return !is_wild && drawn == HostOf(spared) ? (drawn + 1) % hosts : drawn;
  }
  MemberId DrawMember(Random& random) const {
    const auto drawn = static_cast<MemberId>(random.Below(members()));
    return !is_wild && drawn == spared ? (drawn + 1) % members() : drawn;
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
  bool only_wild;
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
