#include "cli/hosts.h"

#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "gflags/gflags.h"

DEFINE_string(hosts, "",
              "where the supervisors of all hosts are, each with -n workers: "
              "ADDRESS:PORT,ADDRESS:PORT,...; or dns:NAME:PORT, a name that has the addresses of "
              "all, such as a headless Service's, with a port's number or, with --listen, its "
              "name; or file:/FOLDER, one that all share; empty: this host is the only one");
DEFINE_int32(host_count, 0,
             "how many hosts there are in all, where --hosts doesn't list them; by default as many "
             "as --nnodes and --spares say. With a --witness it's to be given, on each host");
DEFINE_string(nnodes, "",
              "hosts that train: N; or MIN:MAX, then the first MIN of --hosts begin, the others "
              "come in when they are there, and with fewer than MIN nothing is trained until "
              "others come. By default all but --spares, and they go on with as few as a quorum "
              "is left of. The same on each host, as --spares");
DEFINE_int32(spares, 0,
             "hosts beyond those of --nnodes that hold the training's state and compute nothing, "
             "until one that does is lost: the job then goes on at once, without a transfer. The "
             "lowest that are there compute");
DEFINE_bool(
    witness, false,
    "this host runs no program and only votes, so that of two others either may be lost: "
    "the last of --hosts, beyond --nnodes and --spares. It is given -n, --nnodes, --spares and "
    "--host-count as the others are");
DEFINE_int32(host_index, 0,
             "which of --hosts this is, from 0; by default what RANK or JOB_COMPLETION_INDEX says");

namespace closeranks::cli {
namespace {

constexpr int kMostHosts = 65536;

bool IsGiven(const char* flag) { return !google::GetCommandLineFlagInfoOrDie(flag).is_default; }

// "N" or "MIN:MAX".
Status ParseNnodes(Hosts& hosts) {
  const std::string& text = FLAGS_nnodes;
  const size_t colon = text.find(':');
  auto number = [](std::string_view part, int* value) {
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), *value);
    return parsed.ec == std::errc() && parsed.ptr == part.data() + part.size() && *value >= 1 &&
           *value <= kMostHosts;
  };
  const std::string_view max =
      colon == std::string::npos ? text : std::string_view(text).substr(colon + 1);
  hosts.least = 1;
  if (!number(max, &hosts.most) ||
      (colon != std::string::npos &&
       (!number(std::string_view(text).substr(0, colon), &hosts.least) ||
        hosts.least > hosts.most))) {
    return InvalidArgument("--nnodes=" + text + ": expected N or MIN:MAX, such as 2:4");
  }
  hosts.starting = colon == std::string::npos ? hosts.most : hosts.least;
  return OkStatus();
}

// How many there are in all, and what for.
Status ParseCounts(Hosts& hosts) {
  hosts.spares = FLAGS_spares;
  if (FLAGS_spares < 0 || FLAGS_spares > kMostHosts) {
    return InvalidArgument("--spares=" + std::to_string(FLAGS_spares) + ": expected 0 or more");
  }
  const int listed = static_cast<int>(hosts.where.hosts.size());
  if (hosts.where.IsList() && FLAGS_host_count != 0 && FLAGS_host_count != listed) {
    return InvalidArgument("--host-count=" + std::to_string(FLAGS_host_count) +
                           " but --hosts lists " + std::to_string(listed));
  }
  if (!FLAGS_nnodes.empty()) RETURN_IF_ERROR(ParseNnodes(hosts));
  hosts.count = hosts.where.IsList() ? listed : FLAGS_host_count;
  if (!hosts.where.IsList() && FLAGS_host_count == 0 && !FLAGS_nnodes.empty()) {
    hosts.count = hosts.WithWorkers();
  }
  if (hosts.count < 1 || hosts.count > kMostHosts) {
    return InvalidArgument("--host-count=" + std::to_string(FLAGS_host_count) +
                           ": --hosts=" + FLAGS_hosts + " needs the number of hosts");
  }
  if (FLAGS_nnodes.empty()) {
    hosts.starting = hosts.most = hosts.count - hosts.spares;
    if (hosts.most < 1) {
      return InvalidArgument("--spares=" + std::to_string(hosts.spares) + ", but there are " +
                             std::to_string(hosts.count) + " hosts: one at least has to train");
    }
  }
  if (hosts.count < hosts.WithWorkers()) {
    return InvalidArgument(
        "--nnodes=" + FLAGS_nnodes + " and --spares=" + std::to_string(hosts.spares) +
        " are up to " + std::to_string(hosts.WithWorkers()) + " hosts, and there are " +
        std::to_string(hosts.count) + ": list all that may come, or give --host-count");
  }
  return OkStatus();
}

// Whether this host's number is one of those that do what this one is to do.
Status CheckIndex(const Hosts& hosts) {
  const std::string index = "--host-index=" + std::to_string(hosts.index);
  const int with_workers = hosts.WithWorkers();
  if (hosts.index < 0 || hosts.index >= hosts.count) {
    return InvalidArgument(index + ": expected 0 to " + std::to_string(hosts.count - 1) +
                           ", as there are " + std::to_string(hosts.count) + " hosts");
  }
  if (FLAGS_witness && hosts.count == with_workers) {
    return InvalidArgument(
        "--witness: there is no host beyond the " + std::to_string(with_workers) +
        " that train or stand by: list it last in --hosts, or count it in --host-count, and say "
        "with --nnodes on all hosts how many train");
  }
  if (FLAGS_witness && hosts.index < with_workers) {
    return InvalidArgument("--witness: hosts 0 to " + std::to_string(with_workers - 1) +
                           " train or stand by, and this is " + index +
                           ": the witness is the last of --hosts");
  }
  if (!FLAGS_witness && hosts.index >= with_workers) {
    return InvalidArgument(index + ": there is no room for it, as --nnodes=" + FLAGS_nnodes +
                           " and --spares=" + std::to_string(hosts.spares) + " are hosts 0 to " +
                           std::to_string(with_workers - 1) +
                           "; raise one of them on all hosts, or let this one only vote, with "
                           "--witness");
  }
  return OkStatus();
}

Result<Hosts> ParseHostFlags(const Environment& environment) {
  Hosts hosts;
  if (FLAGS_hosts.empty()) {
    auto refuse = [](const std::string& flag) {
      return InvalidArgument("--" + flag + ", but there is no --hosts: say with it where they are");
    };
    // One is what there is.
    if (!FLAGS_nnodes.empty() && FLAGS_nnodes != "1" && FLAGS_nnodes != "1:1") {
      return refuse("nnodes=" + FLAGS_nnodes);
    }
    if (FLAGS_spares != 0) return refuse("spares=" + std::to_string(FLAGS_spares));
    if (FLAGS_witness) return refuse("witness");
    return hosts;
  }
  hosts.are_several = true;
  hosts.is_witness = FLAGS_witness;
  hosts.index = IsGiven("host_index") ? FLAGS_host_index : environment.member.value_or(0);
  auto where = rendezvous::Whereabouts::Parse(FLAGS_hosts);
  if (!where.ok()) return InvalidArgument("--hosts has " + where.status().message());
  hosts.where = *std::move(where);
  RETURN_IF_ERROR(ParseCounts(hosts));
  // What the environment says is checked with the rest of it first.
  const bool is_in_range = hosts.index >= 0 && hosts.index < hosts.count;
  if (IsGiven("host_index") || is_in_range) RETURN_IF_ERROR(CheckIndex(hosts));
  return hosts;
}

// Whether the environment and the flags are of the same job.
Status CheckEnvironment(Environment environment, const Hosts& hosts, int workers,
                        bool listens_by_flag) {
  if (IsGiven("host_index")) environment.member.reset();  // the flag wins
  if (!hosts.are_several) {
    if (FLAGS_host_count > 1) {
      return InvalidArgument("--host-count=" + std::to_string(FLAGS_host_count) +
                             ", but there is no --hosts: say with it where they are");
    }
    if (listens_by_flag) environment.master_address.reset();
    if (FLAGS_host_index != 0) {
      return InvalidArgument("--host-index=" + std::to_string(FLAGS_host_index) +
                             ", but there is no --hosts: list all hosts with it");
    }
    return CheckAlone(environment, workers,
                      "there is no --hosts, so this host is the only one, with -n=" +
                          std::to_string(workers) + " workers",
                      "list all hosts with --hosts");
  }
  JobShape shape;
  shape.hosts = hosts.count;
  shape.hosts_with_workers = hosts.WithWorkers();
  shape.workers = workers;
  if (hosts.where.IsList()) {
    shape.first_host = hosts.where.hosts.front().host;
    shape.first_port = hosts.where.hosts.front().port;
  }
  return CheckAmongHosts(environment, shape);
}

}  // namespace

Result<Hosts> ParseHosts(const Environment& environment, int workers, bool listens_by_flag) {
  ASSIGN_OR_RETURN(Hosts hosts, ParseHostFlags(environment));
  RETURN_IF_ERROR(CheckEnvironment(environment, hosts, workers, listens_by_flag));
  if (hosts.are_several && !IsGiven("host_index") && !environment.member.has_value()) {
    return InvalidArgument("--hosts needs --host-index, from 0: which of the " +
                           std::to_string(hosts.count) + " this is");
  }
  return hosts;
}

}  // namespace closeranks::cli
