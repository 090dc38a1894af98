// The environment contract: the only place that reads environment variables.
//
//                          a worker has from its supervisor   `closeranks run` takes it for
//   RANK                   the member that it is              which of --hosts this is
//   JOB_COMPLETION_INDEX   nothing: it is the pod's           the same; Kubernetes sets it
//   WORLD_SIZE             workers that the job may have,     the same: -n times the hosts that
//                          spares too                         have workers, so without witnesses
//   LOCAL_RANK             which of its host's workers it is  0: there is one supervisor on a host
//   MASTER_ADDR, _PORT     where the first host's supervisor  the same; without --hosts the port to
//                          listens                            listen on
//   POD_IP                 nothing                            its address for the other hosts
//   CLOSERANKS_AGENT_FD    the socket to its supervisor       nothing
//   CLOSERANKS_REPORT      the supervisor's --report          nothing
//
// A program that no supervisor started trains alone, and takes them for the same as a supervisor of
// one worker. The flags --host-index and --listen win over the variables that stand for them. Any
// other contradiction, to a flag or between two variables, is an error that names both sides.
#ifndef CLOSERANKS_CLOSERANKS_ENVIRONMENT_H_
#define CLOSERANKS_CLOSERANKS_ENVIRONMENT_H_

#include <functional>
#include <optional>
#include <string>

#include "base/member.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace closeranks {

struct Environment {
  std::optional<MemberId> member;
  bool member_is_of_pod = false;  // from JOB_COMPLETION_INDEX
  std::optional<int> world_size;
  std::optional<int> local_rank;
  std::optional<std::string> master_address;
  std::optional<int> master_port;
  std::optional<std::string> pod_ip;
  std::optional<int> agent_fd;
  std::optional<std::string> report_folder;
};

inline constexpr char kAgentFdVariable[] = "CLOSERANKS_AGENT_FD";
inline constexpr char kReportVariable[] = "CLOSERANKS_REPORT";

// Looks a variable up; null when it isn't set.
using Lookup = std::function<const char*(const char* name)>;

// The supervisors of a job, as its flags have it. Ports and hosts are as they were written.
struct JobShape {
  int hosts = 1;  // the witnesses too
  int hosts_with_workers = 1;
  int workers = 1;         // on each of these
  std::string first_host;  // where the first listens; empty: that isn't known
  int first_port = 0;
};

// kInvalidArgument names the variable, its value and what is expected.
Result<Environment> ReadEnvironment(const Lookup& lookup);
// This process's variables.
Result<Environment> ReadEnvironment();

// For a process that is the only one, or the only supervisor, of a job with `workers` workers.
// kInvalidArgument when the environment says otherwise: `why` it is, and what to do (`remedy`),
// stand in the message.
Status CheckAlone(const Environment& environment, int workers, const std::string& why,
                  const std::string& remedy);
// For the supervisor of one of several hosts: kInvalidArgument when the environment says otherwise.
Status CheckAmongHosts(const Environment& environment, const JobShape& shape);

// The socket that agent_fd is, which must be there: for this process only, so that a program that
// it starts has neither socket nor variable. Call it once, before other threads use the
// environment. kInvalidArgument when the variable names something else.
Result<UniqueFd> TakeAgentSocket(const Environment& environment);

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_ENVIRONMENT_H_
