#include "closeranks/environment.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace closeranks {
namespace {

Result<std::optional<int>> Number(const Lookup& lookup, const char* name, int least, int most) {
  const char* text = lookup(name);
  if (text == nullptr || *text == '\0') return std::optional<int>();
  int value = 0;
  const char* end = text + std::strlen(text);
  auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc() || rest != end || value < least || value > most) {
    return InvalidArgument("the environment has " + std::string(name) + "='" + text +
                           "', expected a number from " + std::to_string(least) + " to " +
                           std::to_string(most));
  }
  return std::optional<int>(value);
}

constexpr int kMost = std::numeric_limits<int>::max();

}  // namespace

Result<Environment> ReadEnvironment(const Lookup& lookup) {
  Environment environment;
  ASSIGN_OR_RETURN(std::optional<int> rank, Number(lookup, "RANK", 0, kMost));
  ASSIGN_OR_RETURN(std::optional<int> index, Number(lookup, "JOB_COMPLETION_INDEX", 0, kMost));
  if (rank.has_value() && index.has_value() && *rank != *index) {
    return InvalidArgument("the environment has RANK=" + std::to_string(*rank) +
                           " and JOB_COMPLETION_INDEX=" + std::to_string(*index) +
                           ": unset one of them");
  }
  environment.member = rank.has_value() ? rank : index;
  ASSIGN_OR_RETURN(environment.world_size, Number(lookup, "WORLD_SIZE", 1, kMost));
  ASSIGN_OR_RETURN(environment.local_rank, Number(lookup, "LOCAL_RANK", 0, kMost));
  ASSIGN_OR_RETURN(environment.master_port, Number(lookup, "MASTER_PORT", 1, 65535));
  ASSIGN_OR_RETURN(environment.agent_fd, Number(lookup, kAgentFdVariable, 3, kMost));
  const char* pod_ip = lookup("POD_IP");
  if (pod_ip != nullptr && *pod_ip != '\0') environment.pod_ip = pod_ip;
  const char* address = lookup("MASTER_ADDR");
  if (address != nullptr && *address != '\0') environment.master_address = address;
  if (environment.member.has_value() && environment.world_size.has_value() &&
      *environment.member >= *environment.world_size) {
    return InvalidArgument("the environment has " +
                           std::string(rank.has_value() ? "RANK=" : "JOB_COMPLETION_INDEX=") +
                           std::to_string(*environment.member) +
                           " and WORLD_SIZE=" + std::to_string(*environment.world_size) +
                           ": members count from 0, so WORLD_SIZE must be greater");
  }
  return environment;
}

Result<Environment> ReadEnvironment() {
  return ReadEnvironment([](const char* name) { return std::getenv(name); });
}

}  // namespace closeranks
