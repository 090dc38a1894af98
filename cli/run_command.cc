#include "cli/run_command.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "cli/hosts.h"
#include "cli/own_address.h"
#include "closeranks/command_line.h"
#include "closeranks/environment.h"
#include "closeranks/version.h"
#include "gflags/gflags.h"
#include "launcher/fault.h"
#include "launcher/supervisor.h"
#include "telemetry/log_prefix.h"

DEFINE_int32(n, 1, "workers to start on this host");
DECLARE_string(listen);
DEFINE_string(job, "closeranks",
              "name of the job, of letters, digits and '-'; processes of others are turned away");
DEFINE_string(key_file, "",
              "file with the job's key, or several, one a line: the first is offered, all are "
              "accepted. It is read again when it changes. Needed with --hosts, unless "
              "certificates are given; else one is drawn for this run. It keeps strangers out; "
              "whoever can change what goes over the network is kept out by --tls-cert only");
DEFINE_string(tls_cert, "",
              "PEM file with this host's certificate and what leads from it to --tls-ca; with "
              "--tls-key and --tls-ca, what goes between hosts is encrypted. All three are read "
              "again when they change");
DEFINE_string(tls_key, "", "PEM file with the unencrypted key of --tls-cert");
DEFINE_string(tls_ca, "",
              "PEM file with the job's own authority: whoever has a certificate of it is let in, "
              "with the key where there is one");
DEFINE_string(encrypt, "auto",
              "auto: what goes between hosts is encrypted, if there are certificates; require: "
              "what stays on this host is as well, so that no memory is shared; off: nothing");
DEFINE_bool(insecure, false,
            "let anybody who reaches the port take part: neither key nor certificates");
DEFINE_int32(max_restarts, 3, "times that a crashed worker is started again, within 10 minutes");
DEFINE_double(restart_delay, 0, "seconds from a worker's crash to its new start");
DEFINE_string(kill, "",
              "kill ranks on purpose, in the middle of a step: "
              "RANK[,RANK...]@STEP or RANK[,RANK...]@PERCENT%; the first step from there on that "
              "is long enough. A run without it ends with an error");
DEFINE_string(
    report, "",
    "folder for the run's records, which take the place of an earlier run's (of the ledgers only "
    "where that is another run than the one that this host now is in); the program's --report is "
    "the same by default; give each host its own");
DEFINE_bool(keep_ledgers, false,
            "the ledgers that are in the folder of --report stay: for a run that goes on from a "
            "checkpoint, so that the samples of all its starts can be counted");
DEFINE_bool(progress, false, "show one line with the run's progress");
DEFINE_double(join_timeout, 300, "seconds within which all members must have come");
DEFINE_double(quorum_timeout, 60, "seconds to wait for a quorum of members once it is lost");
DEFINE_double(worker_timeout, 1,
              "seconds after which a silent worker is ended; one that is stopped (SIGSTOP), after "
              "0.15 s");
DEFINE_bool(pause_ok, false,
            "a worker that is stopped or silent is waited for, for ever: for debuggers");
DEFINE_double(grace, 10,
              "seconds that the workers get to leave in good order when this is told to end (by "
              "SIGTERM or SIGINT); whoever ends this by force is to wait longer");

namespace closeranks::cli {
namespace {

// Of a DNS label.
constexpr size_t kLongestJobName = 63;

constexpr char kUsage[] =
    "closeranks run [FLAGS] -- PROGRAM ARGS\n"
    "closeranks run --witness [FLAGS]\n\n"
    "Each line that a worker writes begins with its number, as in '[2] loss 0.31': the RANK\n"
    "that it was started with. It and its successors keep that number, while ranks move up\n"
    "when one is lost.\n\n"
    "SIGUSR1 is passed on to the workers: a checkpoint, now. SIGUSR2 has the workers' flight\n"
    "records written to --report, for 'closeranks explain'.\n\n"
    "Where the flags don't say it, RANK or JOB_COMPLETION_INDEX in the environment is\n"
    "--host-index and, without --hosts, MASTER_PORT the port of --listen. What else\n"
    "contradicts the flags in WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT is an error.";

Result<Duration> Seconds(const char* flag, double value, bool may_be_zero) {
  if (!(value >= 0) || value > 1e7 || (value == 0 && !may_be_zero)) {
    return InvalidArgument("--" + std::string(flag) + "=" + std::to_string(value) +
                           ": expected seconds" + (may_be_zero ? "" : ", more than 0"));
  }
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
}

// It names files and, in a cluster, objects.
Status CheckJobName() {
  const std::string& name = FLAGS_job;
  const bool is_good = !name.empty() && name.size() <= kLongestJobName && name.front() != '-' &&
                       name.back() != '-' &&
                       std::all_of(name.begin(), name.end(), [](unsigned char c) {
                         return c < 0x80 && (std::isalnum(c) != 0 || c == '-');
                       });
  if (is_good) return OkStatus();
  return InvalidArgument("--job=" + name + ": expected 1 to " + std::to_string(kLongestJobName) +
                         " letters, digits and '-', with no '-' at either end");
}

// What the flags say of this host and the others. Host h has the members from h * n on.
Status ReadHosts(launcher::Supervisor::Options& supervisor) {
  if (FLAGS_n < 1 || FLAGS_n > 1024) {
    return InvalidArgument("-n=" + std::to_string(FLAGS_n) + ": expected 1 to 1024 workers");
  }
  RETURN_IF_ERROR(CheckJobName());
  ASSIGN_OR_RETURN(Environment environment, ReadEnvironment());
  ASSIGN_OR_RETURN(Hosts hosts,
                   ParseHosts(environment, FLAGS_n, /*listens_by_flag=*/!FLAGS_listen.empty()));
  supervisor.most_workers = FLAGS_n * hosts.WithWorkers();
  rendezvous::AgentHost::Options& options = supervisor.host;
  options.job = FLAGS_job;
  options.build = "closeranks " + std::string(kVersion) + ", program " + ProgramId();
  options.starting_members = FLAGS_n * hosts.starting;
  options.most_computing = FLAGS_n * hosts.most;
  for (int host = 0; host < hosts.count; ++host) {
    const int members_here = host < hosts.WithWorkers() ? FLAGS_n : 1;
    std::vector<MemberId> members;
    for (int i = 0; i < members_here; ++i) members.push_back(host * FLAGS_n + i);
    if (host == hosts.index || !hosts.are_several) {
      options.members = std::move(members);
    } else {
      options.peers.push_back(std::move(members));
    }
  }
  if (hosts.count > 1) options.membership = rendezvous::MembershipOptions::BetweenPods();
  options.membership.least_hosts = hosts.least;
  options.membership.started = std::chrono::system_clock::now().time_since_epoch();
  options.membership.witness = hosts.is_witness;
  ASSIGN_OR_RETURN(OwnAddress own, ParseOwnAddress(hosts, environment));
  options.listen = std::move(own.listen);
  options.advertised = std::move(own.advertised);
  options.whereabouts = std::move(hosts.where);
  // Those of the others.
  std::vector<net::Address>& list = options.whereabouts.hosts;
  if (!list.empty()) list.erase(list.begin() + hosts.index);
  ASSIGN_OR_RETURN(options.membership.join_timeout,
                   Seconds("join-timeout", FLAGS_join_timeout, false));
  ASSIGN_OR_RETURN(options.membership.quorum_timeout,
                   Seconds("quorum-timeout", FLAGS_quorum_timeout, false));
  ASSIGN_OR_RETURN(options.worker_timeout, Seconds("worker-timeout", FLAGS_worker_timeout, false));
  options.pauses_are_ok = FLAGS_pause_ok;
  if (FLAGS_pause_ok) {
    options.worker_timeout = options.stopped_worker_timeout = options.membership.freeze_timeout =
        kForEver;
  }
  return OkStatus();
}

// Workers, which may run elsewhere, read the same files.
std::string Absolute(const std::string& path) {
  return path.empty() ? "" : std::filesystem::absolute(path).string();
}

Status CheckSecurityFlags(const rendezvous::AgentHost::Options& host) {
  const int given = !FLAGS_tls_cert.empty() + !FLAGS_tls_key.empty() + !FLAGS_tls_ca.empty();
  if (given != 0 && given != 3) {
    return InvalidArgument("--tls-cert, --tls-key and --tls-ca go together; give all three");
  }
  if (FLAGS_encrypt != "auto" && FLAGS_encrypt != "require" && FLAGS_encrypt != "off") {
    return InvalidArgument("--encrypt=" + FLAGS_encrypt + ": expected auto, require or off");
  }
  if (FLAGS_encrypt == "require" && given == 0) {
    return InvalidArgument("--encrypt=require needs --tls-cert, --tls-key and --tls-ca");
  }
  if (FLAGS_encrypt == "off" && given != 0) {
    return InvalidArgument("--encrypt=off, but there is --tls-cert; leave out one of them");
  }
  if (!FLAGS_key_file.empty() || given != 0 || FLAGS_insecure) return OkStatus();
  const std::string remedy =
      "; make one with 'openssl rand -hex 32 > FILE', give --tls-cert, --tls-key and --tls-ca, or "
      "say --insecure where nobody else reaches the port";
  if (!host.peers.empty()) {
    return InvalidArgument("--hosts needs --key-file: every host must have the job's key" + remedy);
  }
  if (!host.listen.IsLoopback()) {
    return InvalidArgument("listening on " + host.listen.ToString() + " needs --key-file" + remedy);
  }
  return OkStatus();
}

Result<rendezvous::Security> ReadSecurity(const rendezvous::AgentHost::Options& host,
                                          Random& random) {
  RETURN_IF_ERROR(CheckSecurityFlags(host));
  rendezvous::Security security;
  security.key_file = Absolute(FLAGS_key_file);
  security.tls = {Absolute(FLAGS_tls_cert), Absolute(FLAGS_tls_key), Absolute(FLAGS_tls_ca)};
  security.encrypt_all = FLAGS_encrypt == "require";
  if (!security.key_file.empty()) return security;
  // Where hosts share no secret, certificates prove all, or nothing does.
  security.keys = {"no secret"};
  if (host.peers.empty()) {
    security.keys = {Incarnation::Draw(random).ToString() + Incarnation::Draw(random).ToString()};
  }
  return security;
}

Result<launcher::Supervisor::Options> SupervisorOptions(std::vector<std::string> command,
                                                        Random& random) {
  launcher::Supervisor::Options options;
  RETURN_IF_ERROR(ReadHosts(options));
  const bool is_witness = options.host.membership.witness;
  if (is_witness && !command.empty()) {
    return InvalidArgument("--witness runs no program: leave out '--' and what follows it");
  }
  if (command.empty() && !is_witness) {
    return InvalidArgument("there is no program to run: closeranks run -n 4 -- PROGRAM ARGS");
  }
  options.command = std::move(command);
  ASSIGN_OR_RETURN(options.security, ReadSecurity(options.host, random));
  if (FLAGS_max_restarts < 0) {
    return InvalidArgument("--max-restarts=" + std::to_string(FLAGS_max_restarts) +
                           ": expected 0 or more");
  }
  options.restarts.max_restarts = FLAGS_max_restarts;
  ASSIGN_OR_RETURN(options.restarts.delay, Seconds("restart-delay", FLAGS_restart_delay, true));
  if (!FLAGS_kill.empty()) {
    ASSIGN_OR_RETURN(options.fault, launcher::ParseFault(FLAGS_kill));
    for (int rank : options.fault->ranks) {
      if (rank < options.most_workers) continue;
      return InvalidArgument("--kill=" + FLAGS_kill + ": there is no rank " + std::to_string(rank) +
                             " among " + std::to_string(options.most_workers));
    }
  }
  ASSIGN_OR_RETURN(options.grace, Seconds("grace", FLAGS_grace, true));
  options.report_folder = FLAGS_report;
  options.keep_ledgers = FLAGS_keep_ledgers;
  options.live_line = FLAGS_progress;
  // Last, as it may take a while.
  net::Address& advertised = options.host.advertised;
  if (!advertised.IsNumeric()) {
    ASSIGN_OR_RETURN(advertised, OwnLiteral(advertised, LookUp));
  }
  return options;
}

// Nothing is to be run.
bool AsksForHelp(const std::vector<std::string>& words) {
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word == "-h" || word.starts_with("--help") || word.starts_with("-help") ||
           word == "--version" || word == "-version";
  });
}

// It runs nothing either. A program without '--' before it may have flags that begin alike.
bool NamesWitness(const std::vector<std::string>& words) {
  return std::any_of(words.begin(), words.end(), [](const std::string& word) {
    const std::string flag = word.substr(0, word.find('='));
    return flag == "--witness" || flag == "-witness";
  });
}

// gflags takes flags from anywhere before "--"; what isn't a flag there is a mistake.
Result<std::vector<std::string>> ParseFlags(std::span<const std::string> arguments) {
  std::vector<std::string> words = {"closeranks run"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  auto separator = std::find(words.begin(), words.end(), "--");
  const bool is_complete = AsksForHelp(words) || NamesWitness(words);
  if (separator == words.end() && !is_complete) {
    return InvalidArgument(
        "there is no '--': put it before the program, as in 'closeranks run -n 4 "
        "-- PROGRAM ARGS'");
  }
  std::vector<std::string> command;
  if (separator != words.end()) command.assign(separator + 1, words.end());
  words.erase(separator, words.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  int argc = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  char** argv = pointers.data();
  ParseCommandLine(kUsage, &argc, &argv);
  if (argc > 1) {
    return InvalidArgument("'" + std::string(argv[1]) +
                           "' is no flag; the program comes after '--'");
  }
  return command;
}

}  // namespace

int RunCommand(std::span<const std::string> arguments, Files& files, std::ostream& err) {
  SystemClock clock;
  SystemRandom random;
  // What stands before log lines outlives whoever logs.
  static telemetry::LogPrefix prefix;
  telemetry::InitLogging("closeranks", prefix);
  auto fail = [&err](const Status& why) {
    err << "closeranks run: " << why.message() << "\n";
    return static_cast<int>(ExitCodeFor(why));
  };
  auto command = ParseFlags(arguments);
  if (!command.ok()) return fail(command.status());
  auto options = SupervisorOptions(*std::move(command), random);
  if (!options.ok()) return fail(options.status());
  launcher::Supervisor supervisor(*std::move(options), clock, random, files);
  Result<int> code = supervisor.Run();
  return code.ok() ? *code : fail(code.status());
}

}  // namespace closeranks::cli
