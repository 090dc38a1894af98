// Jobs of several supervisors, as on several hosts: any one of them may go, with its workers.
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::Barrier;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectTrained;
using testing_job::Hosts;
using testing_job::JobProcess;
using testing_job::kQuorumLost;
using testing_job::kReplaced;
using testing_job::ReportFolder;
using testing_job::ReservedPort;
using testing_job::RunFlags;
using testing_job::Undisturbed;
using testing_job::Words;

using Jobs = std::vector<std::unique_ptr<JobProcess>>;

Jobs StartAll(const Hosts& hosts, int count, const Words& supervisor, const Words& worker) {
  Jobs jobs;
  for (int host = 0; host < count; ++host) {
    jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(host, supervisor, worker)));
  }
  return jobs;
}

void ExpectGoodEnds(Jobs& jobs, int count) {
  for (int host = 0; host < count; ++host) {
    EXPECT_EQ(jobs[host]->Wait(), 0) << "host " << host << ":\n" << jobs[host]->output();
  }
}

TEST(SeveralHosts, TrainTogether) {
  for (const char* wire : {"--notcp", "--tcp"}) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 2);
    Jobs jobs = StartAll(hosts, 2, {}, {wire});
    ExpectGoodEnds(jobs, 2);
    ExpectNoProcessLeft(folder, 2);
    EXPECT_EQ(ExpectTrained(folder, 4), Undisturbed());
  }
}

TEST(SeveralHosts, ListedByTheirNamesTrainTogether) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  const ReservedPort ports[2];
  const std::string list = "--hosts=localhost:" + std::to_string(ports[0].number()) +
                           ",localhost:" + std::to_string(ports[1].number());
  Jobs jobs = StartAll(hosts, 2, {list}, {"--tcp"});
  ExpectGoodEnds(jobs, 2);
  ExpectNoProcessLeft(folder, 2);
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
}

bool HasIp6() {
  const UniqueFd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_addr = IN6ADDR_LOOPBACK_INIT;
  return fd && bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof(at)) == 0;
}

TEST(SeveralHosts, ThatAreReachedByEitherFamilyTrainTogether) {
  if (!HasIp6()) GTEST_SKIP() << "needs IPv6 on loopback";
  for (const char* other : {"--advertise=127.0.0.1", "--advertise=::1"}) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 1);
    Jobs jobs;
    // Where nothing says it they listen on every address. The second one's worker calls the first.
    for (const char* advertise : {"--advertise=::1", other}) {
      jobs.push_back(std::make_unique<JobProcess>(
          hosts.FlagsByFolder(static_cast<int>(jobs.size()), {"--listen=", advertise}, {"--tcp"})));
    }
    ExpectGoodEnds(jobs, 2);
    ExpectNoProcessLeft(folder, 2);
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
  }
}

TEST(SeveralHosts, OfTwoJobsMayShareAKeyAndAFolderToMeetIn) {
  ReportFolder meeting, folders[2];
  std::vector<std::unique_ptr<Barrier>> barriers;
  std::vector<Jobs> jobs(2);
  for (int job = 0; job < 2; ++job) {
    Hosts hosts(folders[job], 2, 1);
    barriers.push_back(std::make_unique<Barrier>(folders[job]));
    for (int host = 0; host < 2; ++host) {
      jobs[job].push_back(std::make_unique<JobProcess>(hosts.FlagsByFolder(
          host, {"--hosts=file:" + meeting.path(), "--job=job-" + std::to_string(job)},
          {"--tcp", "--pause_step=5", "--pause_at=" + barriers[job]->path()})));
    }
    for (auto& process : jobs[job]) ASSERT_TRUE(process->WaitForOutput("pauses"));
  }
  for (int job = 0; job < 2; ++job) {
    barriers[job]->Open();
    ExpectGoodEnds(jobs[job], 2);
    ExpectNoProcessLeft(folders[job], 2);
    EXPECT_EQ(ExpectTrained(folders[job], 2), Undisturbed());
  }
}

TEST(SeveralHosts, TheOtherHostsLearnWhyAWorkerIsLost) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 2);
  Barrier barrier(folder);
  Jobs jobs = StartAll(
      hosts, 2, {},
      {"--faults=1:part:segv:5,2:part:throw:6", "--pause_step=9", "--pause_at=" + barrier.path()});
  // Worker 2 may be at its own end before it hears of it.
  ASSERT_TRUE(jobs[1]->WaitForOutput("member 1 is lost: its worker was killed by signal 11"));
  ASSERT_TRUE(jobs[0]->WaitForOutput("member 2 is lost: its worker threw a bad sample in step 6"));
  barrier.Open();
  ExpectGoodEnds(jobs, 2);
  EXPECT_EQ(ExpectTrained(folder), Undisturbed());
  ExpectNoProcessLeft(folder, 2);
}

// As one on a network that is gone does: whoever opens a file of it is kept there.
TEST(SeveralHosts, AReportFolderThatHangsKeepsNoHostFromItsJob) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  std::filesystem::create_directories(folder.OfSupervisor(0));
  Barrier hanging(folder, "supervisor.0/run.lineage");
  Jobs jobs = StartAll(hosts, 2, {}, {"--tcp"});
  ExpectGoodEnds(jobs, 2);
  EXPECT_EQ(testing_job::Worlds(folder), 1) << jobs[0]->output();
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed()) << jobs[0]->output();
  ExpectNoProcessLeft(folder, 2);
}

TEST(SeveralHosts, FindEachOtherByASharedFolderAndASuccessorElsewhereToo) {
  ReportFolder folder;
  Hosts hosts(folder, 3, 1);
  Barrier early(folder, "early");
  auto flags = [&](int host, const Words& supervisor) {
    return hosts.FlagsByFolder(host, supervisor,
                               {"--tcp", "--pause_step=5", "--pause_at=" + early.path(),
                                "--hold_step=9", "--hold_size=3"});
  };
  Jobs jobs;
  for (int host = 0; host < 3; ++host) {
    jobs.push_back(std::make_unique<JobProcess>(flags(host, {})));
  }
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  jobs[2]->Signal(SIGKILL);
  EXPECT_EQ(jobs[2]->Wait(), -SIGKILL);
  early.Open();
  // At another address.
  jobs[2] = std::make_unique<JobProcess>(
      flags(2, {"--listen=" + testing_job::UniqueAddress(), "--report=" + folder.OfSupervisor(3)}));
  ExpectGoodEnds(jobs, 3);
  ExpectNoProcessLeft(folder, 4);
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed());
}

TEST(SeveralHosts, AWorkerOnEitherMayBeKilled) {
  for (const char* fault : {"--faults=0:part:kill:5", "--faults=3:apply:kill:5"}) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 2);
    Jobs jobs = StartAll(hosts, 2, {}, {"--tcp", fault, "--hold_step=9", "--hold_size=4"});
    ExpectGoodEnds(jobs, 2);
    ExpectNoProcessLeft(folder, 2);
    EXPECT_EQ(ExpectTrained(folder, 4), Undisturbed());
  }
}

TEST(SeveralHosts, TheHostThatHasTheRankKillsIt) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  Barrier barrier(folder);
  Jobs jobs = StartAll(hosts, 2, {"--kill=1@5"},
                       {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path()});
  ASSERT_TRUE(jobs[1]->WaitForOutput("killed rank 1 (member 1) in step 5"));
  barrier.Open();
  ExpectGoodEnds(jobs, 2);
  EXPECT_EQ(ExpectTrained(folder), Undisturbed());
  ExpectNoProcessLeft(folder, 2);
}

TEST(SeveralHosts, AnyWholeHostMayBeLost) {
  for (int lost = 0; lost < 3; ++lost) {
    SCOPED_TRACE(lost);
    ReportFolder folder;
    Hosts hosts(folder, 3, 1);
    Barrier barrier(folder);
    Jobs jobs = StartAll(hosts, 3, {}, {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path()});
    for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
    jobs[lost]->Signal(SIGKILL);
    EXPECT_EQ(jobs[lost]->Wait(), -SIGKILL);
    barrier.Open();
    for (int host = 0; host < 3; ++host) {
      if (host == lost) continue;
      EXPECT_EQ(jobs[host]->Wait(), 0) << jobs[host]->output();
    }
    ExpectNoProcessLeft(folder, 3);
    EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
  }
}

// Host 1 alone has no quorum of the two.
TEST(SeveralHosts, AHostWhoseWorkerFailedForGoodTakesNoVoteWithIt) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  Barrier barrier(folder);
  Jobs jobs = StartAll(
      hosts, 2, {"--max_restarts=0"},
      {"--tcp", "--faults=0:part:throw:5", "--pause_step=9", "--pause_at=" + barrier.path()});
  EXPECT_EQ(jobs[0]->Wait(), 1) << jobs[0]->output();
  barrier.Open();
  EXPECT_EQ(jobs[1]->Wait(), 0) << jobs[1]->output();
  EXPECT_EQ(ExpectTrained(folder, 1), Undisturbed());
  ExpectNoProcessLeft(folder, 2);
}

int Ledgers(const std::string& folder) {
  int ledgers = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    ledgers += file.path().filename().string().starts_with("ledger.") && file.file_size() > 0;
  }
  return ledgers;
}

TEST(SeveralHosts, AHostThatComesBackByTheSameCommandKeepsItsLedgers) {
  ReportFolder folder;
  Hosts hosts(folder, 3, 1);
  const std::string own = folder.OfSupervisor(2);
  Barrier barrier(folder);
  auto flags = [&](int host, const std::string& report) {
    return hosts.Flags(host, {},
                       {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path(), "--hold_step=9",
                        "--hold_size=3", "--report=" + report});
  };
  Jobs jobs;
  for (int host = 0; host < 3; ++host) {
    jobs.push_back(std::make_unique<JobProcess>(flags(host, host == 2 ? own : folder.path())));
  }
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  const pid_t worker = testing_job::WorkerPid(folder, 2, 2);
  jobs[2]->Signal(SIGKILL);
  jobs[2]->Wait();
  ASSERT_TRUE(testing_job::WaitUntilDead(worker));
  jobs[2] = std::make_unique<JobProcess>(flags(2, own));
  barrier.Open();
  ExpectGoodEnds(jobs, 3);
  EXPECT_EQ(Ledgers(own), 2);
  EXPECT_EQ(ExpectTrained(folder, 2), Undisturbed());
  // Another run's go.
  JobProcess another(RunFlags(folder, 1, {"--report=" + own}, {"--report=" + own}));
  EXPECT_EQ(another.Wait(), 0) << another.output();
  EXPECT_EQ(Ledgers(own), 1);
}

TEST(SeveralHosts, WithoutAQuorumNothingIsRecordedAndTheRunSaysSo) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  Barrier barrier(folder);
  Jobs jobs = StartAll(hosts, 2, {"--quorum_timeout=5"},
                       {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path()});
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  // The lower one decides alone; the other one can't.
  jobs[0]->Signal(SIGKILL);
  jobs[0]->Wait();
  barrier.Open();
  EXPECT_EQ(jobs[1]->Wait(), kQuorumLost) << jobs[1]->output();
  for (const char* line : {"member 1: quorum lost: ", "the job holds: flight records are written",
                           "the quorum is lost: flight records are written"}) {
    EXPECT_EQ(testing_job::CountLines(jobs[1]->output(), line), 1) << jobs[1]->output();
  }
  ExpectNoProcessLeft(folder, 2);
}

TEST(SeveralHosts, WhoWasReplacedWhileItWasStoppedEndsWithItsCode) {
  ReportFolder folder;
  Hosts hosts(folder, 3, 1);
  Barrier early(folder, "early"), late(folder, "late");
  auto worker = [&](int step, const Barrier& barrier) {
    return Words{"--tcp", "--pause_step=" + std::to_string(step), "--pause_at=" + barrier.path(),
                 "--hold_step=9", "--hold_size=3"};
  };
  Jobs jobs = StartAll(hosts, 3, {}, worker(5, early));
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  const pid_t stopped = testing_job::WorkerPid(folder, 2, 2);
  jobs[2]->Signal(SIGSTOP);
  kill(stopped, SIGSTOP);
  // Another process of host 2's members, elsewhere.
  JobProcess successor(hosts.Flags(
      2, {"--listen=" + testing_job::UniqueAddress(), "--report=" + folder.OfSupervisor(3)},
      worker(12, late)));
  early.Open();
  ASSERT_TRUE(successor.WaitForOutput("pauses"));
  kill(stopped, SIGCONT);
  jobs[2]->Signal(SIGCONT);
  EXPECT_EQ(jobs[2]->Wait(), kReplaced) << jobs[2]->output();
  late.Open();
  EXPECT_EQ(successor.Wait(), 0) << successor.output();
  EXPECT_EQ(jobs[0]->Wait(), 0) << jobs[0]->output();
  EXPECT_EQ(jobs[1]->Wait(), 0) << jobs[1]->output();
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed());
  ExpectNoProcessLeft(folder, 4);
}

TEST(SeveralHosts, ASilentHostIsSuspectedWhichIsOnRecordAndRejoinsWhenItGoesOn) {
  ReportFolder folder;
  Hosts hosts(folder, 3, 2);
  Barrier early(folder);
  Jobs jobs = StartAll(
      hosts, 3, {},
      {"--tcp", "--pause_step=5", "--pause_at=" + early.path(), "--hold_step=9", "--hold_size=6"});
  for (auto& job : jobs) {
    for (int worker = 0; worker < 2; ++worker) ASSERT_TRUE(job->WaitForOutput("pauses"));
  }
  const std::vector<pid_t> workers = {testing_job::WorkerPid(folder, 4, 2),
                                      testing_job::WorkerPid(folder, 5, 2)};
  jobs[2]->Signal(SIGSTOP);
  for (pid_t worker : workers) kill(worker, SIGSTOP);
  // One may hear that the other has gone on without it before it suspects it itself.
  for (int host : {0, 1}) ASSERT_TRUE(jobs[host]->WaitForOutput("the supervisor of member 4 is "));
  for (pid_t worker : workers) kill(worker, SIGCONT);
  jobs[2]->Signal(SIGCONT);
  early.Open();
  ExpectGoodEnds(jobs, 3);
  int told = 0, on_record = 0;
  for (int host : {0, 1}) {
    const int lines = testing_job::CountLines(jobs[host]->output(), " is taken for lost");
    EXPECT_LE(lines, 1) << jobs[host]->output();
    told += lines;
    for (MemberId member : {4, 5}) on_record += testing_job::Suspicions(folder, host, member);
  }
  EXPECT_GE(told, 1) << jobs[0]->output() << jobs[1]->output();
  EXPECT_GE(on_record, told);
  EXPECT_EQ(ExpectTrained(folder, 6), Undisturbed());
  ExpectNoProcessLeft(folder, 3);
}

TEST(SeveralHosts, WhoIsStartedASecondTimeReplacesTheFirstWhichLivesAndIsToldWhy) {
  ReportFolder folder;
  Hosts hosts(folder, 3, 1);
  Barrier barrier(folder);
  // The second may be in after the others have gone on.
  const Words worker = {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path(), "--hold_step=9",
                        "--hold_size=3"};
  Jobs jobs = StartAll(hosts, 3, {}, worker);
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  JobProcess second(hosts.Flags(
      2, {"--listen=" + testing_job::UniqueAddress(), "--report=" + folder.OfSupervisor(3)},
      worker));
  ASSERT_TRUE(jobs[2]->WaitForOutput("replaced: a newer process of this member"));
  barrier.Open();
  EXPECT_EQ(jobs[2]->Wait(), kReplaced) << jobs[2]->output();
  EXPECT_EQ(second.Wait(), 0) << second.output();
  EXPECT_EQ(jobs[0]->Wait(), 0) << jobs[0]->output();
  EXPECT_EQ(jobs[1]->Wait(), 0) << jobs[1]->output();
  EXPECT_EQ(ExpectTrained(folder, 3), Undisturbed());
  ExpectNoProcessLeft(folder, 4);
}

}  // namespace
}  // namespace closeranks
