// The environment contract: the only place that reads environment variables.
//
//   RANK                  the member that this process is (torchrun's name for it)
//   JOB_COMPLETION_INDEX  the same, as Kubernetes gives it to the pods of an Indexed Job
//   WORLD_SIZE            how many members the job starts with
//   LOCAL_RANK            which of this host's workers it is
//   POD_IP                this host's address for the others, from Kubernetes' downward API
//   MASTER_ADDR, MASTER_PORT  where member 0's supervisor listens
//   CLOSERANKS_AGENT_FD   the socket to the supervisor that started this process
//
// A flag wins over a variable; two variables that contradict each other are an error that names
// both.
#ifndef CLOSERANKS_CLOSERANKS_ENVIRONMENT_H_
#define CLOSERANKS_CLOSERANKS_ENVIRONMENT_H_

#include <functional>
#include <optional>
#include <string>

#include "base/member.h"
#include "base/status.h"

namespace closeranks {

struct Environment {
  std::optional<MemberId> member;
  std::optional<int> world_size;
  std::optional<int> local_rank;
  std::optional<std::string> master_address;
  std::optional<int> master_port;
  std::optional<std::string> pod_ip;
  std::optional<int> agent_fd;
};

inline constexpr char kAgentFdVariable[] = "CLOSERANKS_AGENT_FD";

// Looks a variable up; null when it isn't set.
using Lookup = std::function<const char*(const char* name)>;

// kInvalidArgument names the variable, its value and what is expected.
Result<Environment> ReadEnvironment(const Lookup& lookup);
// This process's variables.
Result<Environment> ReadEnvironment();

}  // namespace closeranks

#endif  // CLOSERANKS_CLOSERANKS_ENVIRONMENT_H_
