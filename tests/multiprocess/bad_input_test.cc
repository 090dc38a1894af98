// Whatever is wrong with what comes in gets one clear line and its exit code; the job goes on where
// it can.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "net/frame.h"
#include "net/preamble.h"
#include "telemetry/report/ledger_count.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::Barrier;
using testing_job::CountLines;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectNothingTrained;
using testing_job::ExpectTrained;
using testing_job::Hosts;
using testing_job::JobProcess;
using testing_job::kError;
using testing_job::kJoinTimeout;
using testing_job::kMismatch;
using testing_job::kNoResources;
using testing_job::kUnauthenticated;
using testing_job::kUsage;
using testing_job::ReportFolder;
using testing_job::RunFlags;
using testing_job::Words;

// Ends with `code`, and says `part` in exactly one line.
void ExpectRefused(const Words& flags, int code, const std::string& part) {
  JobProcess job(flags);
  EXPECT_EQ(job.Wait(), code) << job.output();
  EXPECT_EQ(CountLines(job.output(), part), 1) << part << " in:\n" << job.output();
}

UniqueFd ConnectTo(const std::string& address) {
  size_t colon = address.find(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  PCHECK(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) == 1);
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  PCHECK(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
  return fd;
}

// Sends the bytes, and waits until the other side has closed.
void SendAndWaitForEnd(const std::string& address, const std::string& bytes) {
  UniqueFd fd = ConnectTo(address);
  (void)send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  shutdown(fd.get(), SHUT_WR);
  char byte;
  while (recv(fd.get(), &byte, 1, 0) > 0) {
  }
}

std::string RandomBytes(SeededRandom& random, size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes.push_back(static_cast<char>(random.Next()));
  return bytes;
}

TEST(BadInput, FlagsThatAreWrongAreNamed) {
  const Words program = {"--", "true"};
  auto refused = [&](Words flags, const std::string& part) {
    flags.insert(flags.end(), program.begin(), program.end());
    ExpectRefused(flags, kUsage, part);
  };
  refused({"--nosuchflag"}, "unknown command line flag 'nosuchflag'");
  refused({"--n=0"}, "-n=0: expected");
  refused({"word"}, "'word' is no flag");
  refused({"--kill=9@4"}, "there is no rank 9");
  refused({"--kill=x"}, "--kill=x: expected");
  refused({"--max_restarts=-1"}, "--max-restarts=-1");
  refused({"--worker_timeout=0"}, "--worker-timeout=0");
  refused({"--listen=nonsense"}, "--listen=nonsense");
  refused({"--advertise=10.0.0.5:29400"}, "--advertise=10.0.0.5:29400: expected an IP address");
  refused({"--job=team/run"}, "--job=team/run: expected");
  refused({"--hosts=dns:trainer:29400"}, "--host-count=0: --hosts=dns:trainer:29400 needs");
  refused({"--hosts=a:1,b:1", "--key_file=/dev/null"}, "--hosts needs --host-index");
  refused({"--host_count=2"}, "--host-count=2, but there is no --hosts");
  refused({"--hosts=dns:trainer"}, "'dns:trainer': expected dns:NAME:PORT");
  refused({"--hosts=a:1,b:1", "--host_count=3"}, "--host-count=3 but --hosts lists 2");
  refused({"--hosts=a:1,b:2", "--host_index=0"}, "--hosts needs --key-file");
  refused({"--listen=0.0.0.0:0"}, "listening on 0.0.0.0:0 needs --key-file");
  refused({"--tls_cert=/nonexistent"}, "give all three");
  refused({"--tls_cert=/none", "--tls_key=/none", "--tls_ca=/none"}, "--tls-cert=/none: ");
  refused({"--encrypt=sometimes"}, "--encrypt=sometimes: expected auto, require or off");
  refused({"--encrypt=require"}, "--encrypt=require needs --tls-cert");
  refused({"--encrypt=off", "--tls_cert=/a", "--tls_key=/b", "--tls_ca=/c"}, "leave out one");
  refused({"--hosts=a:1,a:1"}, "--hosts has a:1 twice");
  refused({"--hosts=a"}, "--hosts has 'a'");
  refused({"--hosts=a:1,b:2", "--host_index=2"}, "--host-index=2");
  refused({"--host_index=3"}, "--host-index=3, but there is no --hosts");
  refused({"--key_file=/nonexistent"}, "--key-file=/nonexistent");
  ReportFolder folder;
  refused({"--key_file=" + folder.Write("key", "short\n")}, "has 5 bytes, expected at least 16");
  refused({"--report=/proc/x"}, "--report=/proc/x: ");
  refused({"--report=/proc/x"}, "choose a folder that can be written");
  ExpectRefused({"--n=1"}, kUsage, "there is no '--': put it before the program");
  ExpectRefused({"--n=1", "true", "--flag"}, kUsage, "there is no '--': put it before the program");
  ExpectRefused({"--n=1", "true", "--witnesses=2"}, kUsage, "there is no '--': put it before");
  ExpectRefused({"--n=1", "--"}, kUsage, "there is no program to run");
  ExpectRefused({"--", "/nonexistent"}, kUsage, "can't run '/nonexistent'");
}

// A variable in the environment of the processes that are started while this is there.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const char* value) : name_(std::move(name)) {
    setenv(name_.c_str(), value, 1);
  }
  ~ScopedVariable() { unsetenv(name_.c_str()); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  std::string name_;
};

TEST(BadInput, AnEnvironmentThatContradictsTheFlagsIsNamed) {
  ReportFolder folder;
  const Words two_hosts = {"--hosts=a:1,b:2",
                           "--key-file=" + folder.Write("key", "0123456789abcdef"), "--", "true"};
  const Words alone = {"-n=2", "--", "true"};
  {
    ScopedVariable set("WORLD_SIZE", "3");
    ExpectRefused(two_hosts, kUsage, "has WORLD_SIZE=3, but there are 2 hosts with -n=1 workers");
    ExpectRefused(alone, kUsage, "has WORLD_SIZE=3, but there is no --hosts");
  }
  {
    ScopedVariable set("RANK", "5");
    ExpectRefused(two_hosts, kUsage, "has RANK=5, but there are 2 hosts");
    ExpectRefused(alone, kUsage, "has RANK=5, but there is no --hosts");
    // The flag wins.
    JobProcess job({"--host-index=0", "--", "true"});
    EXPECT_EQ(job.Wait(), 0) << job.output();
  }
  {
    ScopedVariable set("MASTER_ADDR", "otherhost");
    ExpectRefused(two_hosts, kUsage, "has MASTER_ADDR=otherhost, but the first of --hosts is a");
    ExpectRefused(alone, kUsage, "has MASTER_ADDR=otherhost, but there is no --hosts");
  }
  ScopedVariable set("LOCAL_RANK", "3");
  ExpectRefused(alone, kUsage, "has LOCAL_RANK=3, but there is no --hosts");
}

TEST(BadInput, AWitnessIsNoneOfTheWorkersThatTheEnvironmentCounts) {
  ReportFolder folder;
  const std::string key = "--key-file=" + folder.Write("key", "0123456789abcdef");
  const Words host = {"--hosts=a:1,b:2,c:3", "--nnodes=2", key, "--", "true"};
  const Words witness = {"--hosts=a:1,b:2,c:3", "--nnodes=2", key, "--witness"};
  for (const auto& [rank, flags] : {std::pair("1", host), {"2", witness}}) {
    ScopedVariable set_rank("RANK", rank), port("MASTER_PORT", "9");
    {
      ScopedVariable size("WORLD_SIZE", "3");
      ExpectRefused(flags, kUsage, "has WORLD_SIZE=3, but there are 2 hosts with -n=1 workers");
    }
    // With the right one it's the next variable that contradicts.
    ScopedVariable size("WORLD_SIZE", "2");
    ExpectRefused(flags, kUsage, "has MASTER_PORT=9, but the first of --hosts has port 1");
  }
}

TEST(BadInput, AnEnvironmentThatAgreesIsForTheSupervisorAndItsWorkers) {
  const std::string address = testing_job::UniqueAddress();
  ScopedVariable rank("RANK", "0"), size("WORLD_SIZE", "2"), index("JOB_COMPLETION_INDEX", "0");
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 2, {}, {}));
  EXPECT_EQ(job.Wait(), 0) << job.output();
  ExpectTrained(folder, 2);
  JobProcess told({"-n=2", "--listen=" + address, "--", "sh", "-c",
                   "echo is $RANK of $WORLD_SIZE here $LOCAL_RANK with $MASTER_ADDR:$MASTER_PORT"});
  EXPECT_EQ(told.Wait(), 0) << told.output();
  EXPECT_EQ(CountLines(told.output(), "[1] is 1 of 2 here 1 with " + address), 1) << told.output();
}

TEST(BadInput, WithoutHostsTheMasterPortIsTheOneToListenOn) {
  UniqueFd taken(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(at);
  PCHECK(bind(taken.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
  PCHECK(listen(taken.get(), 1) == 0);
  PCHECK(getsockname(taken.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
  const std::string port = std::to_string(ntohs(at.sin_port));
  ScopedVariable set("MASTER_PORT", port.c_str());
  ExpectRefused({"--", "true"}, kNoResources, "127.0.0.1:" + port);
  JobProcess elsewhere({"--listen=" + testing_job::UniqueAddress(), "--", "true"});
  EXPECT_EQ(elsewhere.Wait(), 0) << elsewhere.output();
}

TEST(BadInput, ATakenPortIsNamed) {
  ReportFolder folder;
  std::string address = testing_job::UniqueAddress();
  Barrier barrier(folder);
  JobProcess first(RunFlags(folder, 1, {"--listen=" + address},
                            {"--pause_step=1", "--pause_at=" + barrier.path()}));
  ASSERT_TRUE(first.WaitForOutput("pauses"));
  ExpectRefused({"--listen=" + address, "--", "true"}, kNoResources, address);
  barrier.Open();
  EXPECT_EQ(first.Wait(), 0) << first.output();
}

TEST(BadInput, AReportFolderThatALiveRunWritesIsNamedAndLeftAlone) {
  ReportFolder folder;
  Barrier barrier(folder);
  Words flags = RunFlags(folder, 2, {}, {"--pause_step=5", "--pause_at=" + barrier.path()});
  JobProcess first(flags);
  for (int worker = 0; worker < 2; ++worker) ASSERT_TRUE(first.WaitForOutput("pauses"));
  ExpectRefused(flags, kNoResources, "--report=" + folder.OfSupervisor() + ": another run");
  barrier.Open();
  EXPECT_EQ(first.Wait(), 0) << first.output();
  ExpectNoProcessLeft(folder);  // by the records of the first
  // Once it has ended, the folder is anybody's.
  JobProcess next({"--report=" + folder.OfSupervisor(), "--", "true"});
  EXPECT_EQ(next.Wait(), 0) << next.output();
}

TEST(BadInput, APeerThatCantBeResolvedIsNamed) {
  ReportFolder folder;
  std::string key = folder.Write("key", "0123456789abcdef");
  JobProcess job(RunFlags(folder, 1,
                          {"--hosts=no-such-host.invalid:29400," + testing_job::UniqueAddress(),
                           "--host_index=1", "--key_file=" + key, "--join_timeout=1"},
                          {}));
  EXPECT_EQ(job.Wait(), kJoinTimeout) << job.output();
  // When it shows, and at the end.
  EXPECT_GE(CountLines(job.output(), "no-such-host.invalid"), 1) << job.output();
  EXPECT_LE(CountLines(job.output(), "no-such-host.invalid"), 3) << job.output();
  EXPECT_EQ(CountLines(job.output(), "raise --join-timeout"), 1) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, WhoIsMissingAtTheEndOfTheJoinTimeoutIsNamed) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  JobProcess job(hosts.Flags(0, {"--join_timeout=1"}, {}));
  EXPECT_EQ(job.Wait(), kJoinTimeout) << job.output();
  EXPECT_EQ(CountLines(job.output(), "no link to " + hosts.address(1) + " (member 1)"), 1)
      << job.output();
}

TEST(BadInput, AnotherKeyIsSaidOnBothSides) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  JobProcess first(hosts.Flags(0, {"--join_timeout=2"}, {}));
  std::string key = folder.Write("another", "another key of the same length");
  JobProcess second(hosts.Flags(1, {"--join_timeout=2", "--key_file=" + key}, {}));
  EXPECT_EQ(first.Wait(), kUnauthenticated) << first.output();
  EXPECT_EQ(second.Wait(), kUnauthenticated) << second.output();
  for (const std::string* output : {&first.output(), &second.output()}) {
    EXPECT_NE(output->find("doesn't have the job's key"), std::string::npos) << *output;
    EXPECT_NE(output->find("the same key file"), std::string::npos) << *output;
  }
}

TEST(BadInput, SupervisorsOfDifferentJobsAreToldApart) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  JobProcess first(hosts.Flags(0, {}, {}));
  JobProcess second(hosts.Flags(1, {"--n=2"}, {}));
  EXPECT_EQ(first.Wait(), kMismatch) << first.output();
  EXPECT_EQ(second.Wait(), kMismatch) << second.output();
  EXPECT_NE(first.output().find("members=4"), std::string::npos) << first.output();
  EXPECT_NE(second.output().find("members=2"), std::string::npos) << second.output();
}

TEST(BadInput, HostsOfJobsWithDifferentNamesAreToldApartAndBothAreNamed) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  JobProcess first(hosts.Flags(0, {"--job=alpha"}, {}));
  JobProcess second(hosts.Flags(1, {"--job=beta"}, {}));
  for (JobProcess* job : {&first, &second}) {
    EXPECT_EQ(job->Wait(), kMismatch) << job->output();
    EXPECT_NE(job->output().find("'alpha'"), std::string::npos) << job->output();
    EXPECT_NE(job->output().find("'beta'"), std::string::npos) << job->output();
  }
}

TEST(BadInput, WorkersOfDifferentConfigurationsEndAndNameBothAndNobodyTrains) {
  // Of who sees it first there are many orders; none of them is to make a difference.
  for (int run = 0; run < 12; ++run) {
    ReportFolder folder;
    JobProcess job(RunFlags(
        folder, 2 + run % 3, {},
        {run % 2 == 0 ? "--notcp" : "--tcp", "--configuration=batch=12", "--odd_one=1:batch=13"}));
    EXPECT_EQ(job.Wait(), kMismatch) << job.output();
    ExpectNothingTrained(folder);
    EXPECT_NE(job.output().find("batch=12"), std::string::npos) << job.output();
    EXPECT_NE(job.output().find("batch=13"), std::string::npos) << job.output();
    EXPECT_EQ(CountLines(job.output(), "restart 1 of"), 0) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

// Each of the workers has `text` in an error of its own. Who ends last may also be told what those
// before it said.
void ExpectEachSays(const std::string& output, int workers, const std::string& text) {
  for (int worker = 0; worker < workers; ++worker) {
    const std::string begin = "[" + std::to_string(worker) + "] E ";
    const size_t line = output.find(begin);
    ASSERT_NE(line, std::string::npos) << begin << " in:\n" << output;
    EXPECT_NE(output.substr(line, output.find('\n', line) - line).find(text), std::string::npos)
        << text << " in:\n"
        << output;
  }
}

TEST(BadInput, AnAuditNamesTheTensorsThatDifferLongBeforeTheEnd) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {}, {"--strays=1", "--audit_every=2"}));
  EXPECT_EQ(job.Wait(), kMismatch) << job.output();
  ExpectEachSays(job.output(), 3, "after step 4: the ranks' state differs: weights.0 (F32 [");
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, WorkersThatTrainedToDifferentWeightsEndAndNameEach) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {}, {"--strays=1"}));
  EXPECT_EQ(job.Wait(), kMismatch) << job.output();
  ExpectEachSays(job.output(), 3, "different weights: rank ");
  ExpectEachSays(job.output(), 3, "rank 0,2 has ");
  // The last step was applied all the same: what differs are the weights, not the samples.
  SystemFiles files;
  auto count = telemetry::CountLedgers(files, {folder.path()}, {.samples = 120, .epochs = 2});
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_TRUE(count->Sound()) << telemetry::LedgerCountText(*count);
  EXPECT_EQ(CountLines(job.output(), "restart 1 of"), 0) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, HostsWhoseWorkersAreOfDifferentBuildsEndAndNameBothAndNobodyTrains) {
  for (int run = 0; run < 6; ++run) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 1 + run % 2);
    JobProcess first(hosts.Flags(0, {}, {"--build=old one"}));
    JobProcess second(hosts.Flags(1, {}, {"--build=new one"}));
    for (JobProcess* job : {&first, &second}) {
      EXPECT_EQ(job->Wait(), kMismatch) << job->output();
      EXPECT_NE(job->output().find("'old one'"), std::string::npos) << job->output();
      EXPECT_NE(job->output().find("'new one'"), std::string::npos) << job->output();
    }
    ExpectNothingTrained(folder);
    ExpectNoProcessLeft(folder, 2);
  }
}

TEST(BadInput, ALateWorkerOfAnotherConfigurationEndsAndTheJobGoesOn) {
  ReportFolder folder;
  Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 3, {},
                          {"--odd_one=1:batch=13", "--odd_later", "--faults=1:part:kill:5",
                           "--pause_step=9", "--pause_at=" + barrier.path()}));
  ASSERT_TRUE(job.WaitForOutput("exit code 'mismatch' is final"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), kMismatch) << job.output();
  ExpectTrained(folder, 2);
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, AWorkerThatCantStartEndsTheStart) {
  ReportFolder folder;
  // Its first process ends before it joins, and so do all that follow.
  JobProcess job(RunFlags(folder, 3, {"--max_restarts=2"},
                          {"--faults=1:start:kill:0,1:start:exit:0,1:join:kill:0"}));
  EXPECT_EQ(job.Wait(), 7) << job.output();
  EXPECT_EQ(CountLines(job.output(), "can't start without member 1"), 1) << job.output();
  ExpectNoProcessLeft(folder);
}

// `closeranks run -n 3` of the toy worker, by way of this script.
Words ByScript(const ReportFolder& folder, const std::string& script, const Words& worker = {},
               const Words& supervisor = {}) {
  Words flags = RunFlags(folder, 3, supervisor, worker);
  auto program = std::find(flags.begin(), flags.end(), "--") + 1;
  flags.insert(program, {"sh", "-c", script});
  return flags;
}

TEST(BadInput, AWorkerThatEndsWellBeforeTheStartEndsTheStart) {
  for (bool others_wait : {false, true}) {
    ReportFolder folder;
    Barrier barrier(folder);
    const std::string end = others_wait ? "{ : <" + barrier.path() + "; exit 0; }" : "exit 0";
    JobProcess job(ByScript(folder, "[ \"$RANK\" = 1 ] && " + end + "; exec \"$0\" \"$@\"",
                            {"--faults=0:join:hang:0,2:ready:say:0"}));
    if (others_wait) {
      ASSERT_TRUE(job.WaitForOutput("is at ready"));
      barrier.Open();
    }
    EXPECT_EQ(job.Wait(), kError) << job.output();
    EXPECT_EQ(CountLines(job.output(), "can't start without member 1"), 1) << job.output();
    EXPECT_EQ(CountLines(job.output(), "(RANK=1) ended with exit code 0 before it joined; let"), 1)
        << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(BadInput, AWorkerThatQuitsAfterItAskedToBeLetInEndsTheStart) {
  ReportFolder folder;
  JobProcess job(RunFlags(folder, 3, {}, {"--faults=1:ready:quit:0,2:join:hang:0"}));
  EXPECT_EQ(job.Wait(), kError) << job.output();
  EXPECT_EQ(CountLines(job.output(), "exit code 0 before the job's end"), 1) << job.output();
  EXPECT_EQ(CountLines(job.output(), "can't start without member 1"), 1) << job.output();
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, AProgramThatOnlyPrintsItsHelpEndsWellOnEveryRank) {
  ReportFolder folder;
  Barrier barrier(folder);
  for (const std::string& script :
       {std::string("echo the help"),
        "[ \"$RANK\" = 1 ] || : <" + barrier.path() + "; echo the help",
        std::string(
            "exec \"$0\" --faults=0:join:finish:0,1:join:finish:0,2:join:finish:0 \"$@\"")}) {
    JobProcess job(ByScript(folder, script));
    barrier.Open();
    EXPECT_EQ(job.Wait(), 0) << job.output();
    EXPECT_EQ(CountLines(job.output(), "none joined a job"), 1) << job.output();
    EXPECT_EQ(CountLines(job.output(), "] gen="), 1) << job.output();
    ExpectNoProcessLeft(folder);
  }
}

TEST(BadInput, WhatStrangersSayBeforeTheFirstWorldEndsNobody) {
  ReportFolder folder;
  const std::string address = testing_job::UniqueAddress();
  Barrier barrier(folder), first_step(folder, "first_step");
  JobProcess job(ByScript(folder,
                          "[ \"$RANK\" = 1 ] && : <" + barrier.path() + "; exec \"$0\" \"$@\"",
                          {"--tcp", "--faults=0:ready:say:0,2:ready:say:0", "--pause_step=1",
                           "--pause_at=" + first_step.path()},
                          {"--listen=" + address}));
  for (int worker = 0; worker < 2; ++worker) ASSERT_TRUE(job.WaitForOutput("is at ready"));
  SeededRandom random(1);
  const std::string refusal =
      net::EncodeFrame({.kind = net::FrameKind::kHello}, "\4\1configuration differs");
  auto attack = [&] {
    for (net::ConnectionRole role :
         {net::ConnectionRole::kMembership, net::ConnectionRole::kData}) {
      for (MemberId member : {0, 2}) {
        const std::string begin =
            net::EncodePreamble({role, net::HashJobName("closeranks"), {member, {}}, 1});
        SendAndWaitForEnd(address, begin + RandomBytes(random, 200));
        SendAndWaitForEnd(address, begin + refusal);
      }
    }
  };
  attack();
  // And while the first world is being connected.
  barrier.Open();
  attack();
  first_step.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(testing_job::Worlds(folder), 1) << job.output();
  ExpectTrained(folder, 3);
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, BytesAtThePortDisturbNothing) {
  ReportFolder folder;
  std::string address = testing_job::UniqueAddress();
  Barrier barrier(folder);
  JobProcess job(RunFlags(folder, 3, {"--listen=" + address},
                          {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path()}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  SeededRandom random(1);
  auto preamble = [](net::ConnectionRole role, const std::string& name) {
    return net::EncodePreamble({role, net::HashJobName(name), {1, {}}, 2});
  };
  // Nothing, too little, and what isn't a preamble at all.
  for (size_t size : {0u, 1u, 39u, 40u, 100u, 100000u}) {
    SendAndWaitForEnd(address, RandomBytes(random, size));
  }
  for (net::ConnectionRole role : {net::ConnectionRole::kMembership, net::ConnectionRole::kData}) {
    SendAndWaitForEnd(address, preamble(role, "another job"));
    const std::string begin = preamble(role, "closeranks");
    // Garbage in place of the handshake, and frames that aren't right.
    for (size_t size : {1u, 23u, 64u, 100000u}) {
      SendAndWaitForEnd(address, begin + RandomBytes(random, size));
    }
    const std::string payload = RandomBytes(random, 100);
    net::FrameHeader header = net::WithPayload({.kind = net::FrameKind::kHello}, payload);
    auto frame = [&](const net::FrameHeader& changed) {
      auto bytes = net::EncodeFrameHeader(changed);
      return begin + std::string(bytes.data(), bytes.size()) + payload;
    };
    SendAndWaitForEnd(address, frame(header));
    net::FrameHeader changed = header;
    changed.length = 1u << 30;
    SendAndWaitForEnd(address, frame(changed));
    changed = header;
    changed.length = 10;
    SendAndWaitForEnd(address, frame(changed));
    changed = header;
    ++changed.payload_checksum;
    SendAndWaitForEnd(address, frame(changed));
    changed = header;
    changed.generation = 77;
    SendAndWaitForEnd(address, frame(changed));
  }
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_GE(CountLines(job.output(), "front door: dropped a connection"), 1) << job.output();
  EXPECT_EQ(CountLines(job.output(), "killed"), 0) << job.output();
  // One world: nobody was disturbed.
  EXPECT_EQ(testing_job::Worlds(folder), 1) << job.output();
  ExpectTrained(folder, 3);
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, ACrowdAtThePortKeepsNoWorkerFromBeingStartedAgain) {
  ReportFolder folder;
  std::string address = testing_job::UniqueAddress();
  Barrier barrier(folder), late(folder, "late");
  JobProcess job(RunFlags(folder, 3, {"--listen=" + address},
                          {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path(),
                           "--hold_step=9", "--hold_size=3"}),
                 rlimit{100, 200});
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  std::vector<UniqueFd> crowd;
  const Words begins = {
      "",
      net::EncodePreamble(
          {net::ConnectionRole::kMembership, net::HashJobName("closeranks"), {1, {}}, 2}),
      net::EncodePreamble(
          {net::ConnectionRole::kData, net::HashJobName("closeranks"), {1, {}}, 2})};
  for (int i = 0; i < 600; ++i) {
    crowd.push_back(ConnectTo(address));
    const std::string& begin = begins[i % begins.size()];
    (void)send(crowd.back().get(), begin.data(), begin.size(), MSG_NOSIGNAL);
  }
  // They are let in one after the other: this is the last.
  SendAndWaitForEnd(address, "x");
  kill(testing_job::WorkerPid(folder, 2), SIGKILL);
  ASSERT_TRUE(job.WaitForOutput("restart 1 of"));
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "Too many open files"), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "restart 1 of"), 1) << job.output();
  ExpectTrained(folder, 3);
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, AShortageAtAWorkersStartCostsARestartAndNotTheRun) {
  ReportFolder folder;
  Barrier barrier(folder);
  JobProcess job(RunFlags(
      folder, 3, {"--max_restarts=20"},
      {"--pause_step=5", "--pause_at=" + barrier.path(), "--hold_step=9", "--hold_size=3"}));
  for (int worker = 0; worker < 3; ++worker) ASSERT_TRUE(job.WaitForOutput("pauses"));
  rlimit before{};
  ASSERT_EQ(prlimit(job.pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  rlimit none = before;
  none.rlim_cur = 1;
  ASSERT_EQ(prlimit(job.pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  kill(testing_job::WorkerPid(folder, 2), SIGKILL);
  ASSERT_TRUE(job.WaitForOutput("the worker of member 2 can't be started: making a"));
  ASSERT_EQ(prlimit(job.pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  barrier.Open();
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "restart 2 of at most 20"), 1) << job.output();
  ExpectTrained(folder, 3);
  ExpectNoProcessLeft(folder);
}

TEST(BadInput, ALimitOfOpenFilesThatIsTooLowIsNamed) {
  JobProcess job({"--n=40", "--", "true"}, rlimit{100, 100});
  EXPECT_EQ(job.Wait(), kNoResources) << job.output();
  EXPECT_EQ(CountLines(job.output(), "at most 100 open files are allowed, too few for 40 workers"),
            1)
      << job.output();
}

TEST(BadInput, WorkersHaveTheLimitOfOpenFilesThatTheirSupervisorWasStartedWith) {
  JobProcess job({"--n=2", "--", "sh", "-c", "echo may open $(ulimit -Sn) of $(ulimit -Hn)"},
                 rlimit{100, 200});
  EXPECT_EQ(job.Wait(), 0) << job.output();
  EXPECT_EQ(CountLines(job.output(), "may open 100 of 200"), 2) << job.output();
}

}  // namespace
}  // namespace closeranks
