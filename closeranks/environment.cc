#include "closeranks/environment.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <charconv>
#include <cstdlib>
#include <limits>

namespace closeranks {
namespace {

// None when the variable isn't set, or set to nothing.
std::optional<std::string> Text(const Lookup& lookup, const char* name) {
  const char* text = lookup(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return text;
}

Result<std::optional<int>> Number(const Lookup& lookup, const char* name, int least, int most) {
  const std::optional<std::string> text = Text(lookup, name);
  if (!text.has_value()) return std::optional<int>();
  int value = 0;
  const char* end = text->data() + text->size();
  auto [rest, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || rest != end || value < least || value > most) {
    return InvalidArgument("the environment has " + std::string(name) + "='" + *text +
                           "', expected a number from " + std::to_string(least) + " to " +
                           std::to_string(most));
  }
  return std::optional<int>(value);
}

std::string MemberVariable(const Environment& environment) {
  return environment.member_is_of_pod ? "JOB_COMPLETION_INDEX" : "RANK";
}

Status Contradiction(const std::string& variable, const std::string& value, const std::string& but,
                     const std::string& remedy) {
  return InvalidArgument("the environment has " + variable + "=" + value + ", but " + but + ": " +
                         remedy + ", or unset " + variable);
}

bool IsThisMachine(const std::string& address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

constexpr int kMost = std::numeric_limits<int>::max();

}  // namespace

Result<Environment> ReadEnvironment(const Lookup& lookup) {
  Environment environment;
  ASSIGN_OR_RETURN(std::optional<int> rank, Number(lookup, "RANK", 0, kMost));
  ASSIGN_OR_RETURN(std::optional<int> index, Number(lookup, "JOB_COMPLETION_INDEX", 0, kMost));
  ASSIGN_OR_RETURN(environment.agent_fd, Number(lookup, kAgentFdVariable, 3, kMost));
  // A pod may have several workers.
  if (environment.agent_fd.has_value()) index.reset();
  if (rank.has_value() && index.has_value() && *rank != *index) {
    return InvalidArgument("the environment has RANK=" + std::to_string(*rank) +
                           " and JOB_COMPLETION_INDEX=" + std::to_string(*index) +
                           ": unset one of them");
  }
  environment.member = rank.has_value() ? rank : index;
  environment.member_is_of_pod = !rank.has_value();
  ASSIGN_OR_RETURN(environment.world_size, Number(lookup, "WORLD_SIZE", 1, kMost));
  ASSIGN_OR_RETURN(environment.local_rank, Number(lookup, "LOCAL_RANK", 0, kMost));
  ASSIGN_OR_RETURN(environment.master_port, Number(lookup, "MASTER_PORT", 1, 65535));
  environment.report_folder = Text(lookup, kReportVariable);
  environment.pod_ip = Text(lookup, "POD_IP");
  environment.master_address = Text(lookup, "MASTER_ADDR");
  // A supervisor's number counts hosts, witnesses too, and its WORLD_SIZE workers.
  if (environment.agent_fd.has_value() && environment.member.has_value() &&
      environment.world_size.has_value() && *environment.member >= *environment.world_size) {
    return InvalidArgument("the environment has " + MemberVariable(environment) + "=" +
                           std::to_string(*environment.member) +
                           " and WORLD_SIZE=" + std::to_string(*environment.world_size) +
                           ": members count from 0, so WORLD_SIZE must be greater");
  }
  return environment;
}

Result<Environment> ReadEnvironment() {
  return ReadEnvironment([](const char* name) { return std::getenv(name); });
}

Status CheckAlone(const Environment& environment, int workers, const std::string& why,
                  const std::string& remedy) {
  auto contradicts = [&](const std::string& variable, const std::string& value) {
    return Contradiction(variable, value, why, remedy);
  };
  if (int size = environment.world_size.value_or(workers); size != workers) {
    return contradicts("WORLD_SIZE", std::to_string(size));
  }
  if (int member = environment.member.value_or(0); member != 0) {
    return contradicts(MemberVariable(environment), std::to_string(member));
  }
  if (int local = environment.local_rank.value_or(0); local != 0) {
    return contradicts("LOCAL_RANK", std::to_string(local));
  }
  if (environment.master_address.has_value() && !IsThisMachine(*environment.master_address)) {
    return contradicts("MASTER_ADDR", *environment.master_address);
  }
  return OkStatus();
}

Status CheckAmongHosts(const Environment& environment, const JobShape& shape) {
  auto there_are = [](int hosts) { return "there are " + std::to_string(hosts) + " hosts"; };
  const int workers = shape.hosts_with_workers * shape.workers;
  if (int size = environment.world_size.value_or(workers); size != workers) {
    return Contradiction("WORLD_SIZE", std::to_string(size),
                         there_are(shape.hosts_with_workers) +
                             " with -n=" + std::to_string(shape.workers) + " workers on each",
                         "mend the flags");
  }
  if (int member = environment.member.value_or(0); member >= shape.hosts) {
    return Contradiction(MemberVariable(environment), std::to_string(member),
                         there_are(shape.hosts) + ", which count from 0",
                         "list all hosts, or say by --host-index which this is");
  }
  if (int local = environment.local_rank.value_or(0); local != 0) {
    return Contradiction("LOCAL_RANK", std::to_string(local),
                         "a host has one supervisor for all of its workers",
                         "start closeranks run once on each host");
  }
  if (shape.first_host.empty()) return OkStatus();
  if (std::string host = environment.master_address.value_or(shape.first_host);
      host != shape.first_host) {
    return Contradiction("MASTER_ADDR", host, "the first of --hosts is " + shape.first_host,
                         "mend --hosts");
  }
  if (int port = environment.master_port.value_or(shape.first_port); port != shape.first_port) {
    return Contradiction("MASTER_PORT", std::to_string(port),
                         "the first of --hosts has port " + std::to_string(shape.first_port),
                         "mend --hosts");
  }
  return OkStatus();
}

Result<UniqueFd> TakeAgentSocket(const Environment& environment) {
  const int fd = *environment.agent_fd;
  int domain = 0;
  socklen_t size = sizeof(domain);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) {
    return InvalidArgument("the environment has " + std::string(kAgentFdVariable) + "=" +
                           std::to_string(fd) + ", but that is no socket to a supervisor: unset " +
                           kAgentFdVariable + ", which is for 'closeranks run' to set");
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  unsetenv(kAgentFdVariable);
  return UniqueFd(fd);
}

}  // namespace closeranks
