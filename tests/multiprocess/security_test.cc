// Jobs of several supervisors whose keys change and whose connections are encrypted.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/test_certificates.h"
#include "tests/multiprocess/job_process.h"

namespace closeranks {
namespace {

using testing_job::Barrier;
using testing_job::ExpectNoProcessLeft;
using testing_job::ExpectTrained;
using testing_job::Hosts;
using testing_job::JobProcess;
using testing_job::kUnauthenticated;
using testing_job::ReportFolder;
using testing_job::Words;

using Jobs = std::vector<std::unique_ptr<JobProcess>>;

Words TlsFlags(const ReportFolder& folder, net::TestAuthority& authority, int host) {
  const std::string name = "host" + std::to_string(host);
  const net::TlsTexts texts = authority.Issue(name);
  return {"--tls_cert=" + folder.Write(name + ".crt", texts.certificate),
          "--tls_key=" + folder.Write(name + ".key", texts.key),
          "--tls_ca=" + folder.Write(name + ".ca", texts.authority)};
}

// As it is done where each host has a file of its own: first all accept the new one, then all offer
// it, then nobody accepts the old one any more.
TEST(Security, AKeyIsReplacedOnOneHostAfterTheOtherAndAWorkerComesBackWhicheverTheyHave) {
  const std::string old_key = "0123456789abcdef0123456789abcdef";
  const std::string new_key = "a new key of the same job, that nobody had before";
  const std::string both = old_key + "\n" + new_key, changed = new_key + "\n" + old_key;
  for (const auto& texts : {Words{both, old_key}, Words{changed, both}, Words{new_key, changed},
                            Words{new_key, new_key}}) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 1);
    Barrier barrier(folder);
    const Words worker = {"--tcp",         "--pause_step=5",
                          "--hold_step=9", "--pause_at=" + barrier.path(),
                          "--hold_size=2", "--faults=1:apply:kill:6"};
    Jobs jobs;
    for (int host = 0; host < 2; ++host) {
      const std::string file = folder.Write("key" + std::to_string(host), old_key);
      jobs.push_back(
          std::make_unique<JobProcess>(hosts.Flags(host, {"--key_file=" + file}, worker)));
    }
    for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
    for (int host = 0; host < 2; ++host) {
      if (texts[host] == old_key) continue;
      const std::string file = folder.Write("key" + std::to_string(host), texts[host]);
      // The supervisor says so, and the worker.
      for (int process = 0; process < 2; ++process) {
        ASSERT_TRUE(jobs[host]->WaitForOutput("there are new keys in " + file));
      }
    }
    barrier.Open();
    for (auto& job : jobs) EXPECT_EQ(job->Wait(), 0) << job->output();
    ExpectNoProcessLeft(folder, 2);
    EXPECT_NE(ExpectTrained(folder, 2), "");
  }
}

// As a folder on a network that is gone does: whoever opens the file is kept there.
TEST(Security, ADiskThatHangsKeepsNoHostFromItsJob) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  const std::string key_file = folder.Write("key.of.0", "0123456789abcdef0123456789abcdef");
  Barrier barrier(folder), hanging(folder, "hanging");
  const Words worker = {"--tcp", "--pause_step=5", "--pause_at=" + barrier.path()};
  Jobs jobs;
  jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(0, {"--key_file=" + key_file}, worker)));
  jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(1, {}, worker)));
  for (auto& job : jobs) ASSERT_TRUE(job->WaitForOutput("pauses"));
  std::filesystem::rename(hanging.path(), key_file);
  // The supervisor says so, and the worker.
  for (int process = 0; process < 2; ++process) {
    ASSERT_TRUE(jobs[0]->WaitForOutput("the disk with " + key_file + " doesn't answer"));
  }
  barrier.Open();
  for (auto& job : jobs) EXPECT_EQ(job->Wait(), 0) << job->output();
  EXPECT_EQ(testing_job::Suspicions(folder, 1, 0), 0) << jobs[1]->output();
  EXPECT_NE(ExpectTrained(folder, 2), "");
}

TEST(Security, EncryptedJobsTrainAndSurviveALoss) {
  net::TestAuthority authority("job");
  for (const char* encrypt : {"--encrypt=auto", "--encrypt=require"}) {
    ReportFolder folder;
    Hosts hosts(folder, 2, 2);
    Jobs jobs;
    for (int host = 0; host < 2; ++host) {
      Words flags = TlsFlags(folder, authority, host);
      flags.emplace_back(encrypt);
      jobs.push_back(std::make_unique<JobProcess>(
          hosts.Flags(host, flags, {"--faults=3:apply:kill:5", "--hold_step=9", "--hold_size=4"})));
    }
    for (auto& job : jobs) EXPECT_EQ(job->Wait(), 0) << job->output();
    ExpectNoProcessLeft(folder, 2);
    EXPECT_NE(ExpectTrained(folder, 4), "");
  }
}

TEST(Security, AHostWithACertificateOfAnotherAuthorityIsNotLetIn) {
  ReportFolder folder;
  Hosts hosts(folder, 2, 1);
  Jobs jobs;
  for (int host = 0; host < 2; ++host) {
    net::TestAuthority authority("an authority of its own");
    Words flags = TlsFlags(folder, authority, host);
    flags.emplace_back("--join_timeout=2");
    jobs.push_back(std::make_unique<JobProcess>(hosts.Flags(host, flags, {})));
  }
  for (auto& job : jobs) {
    EXPECT_EQ(job->Wait(), kUnauthenticated) << job->output();
    EXPECT_NE(job->output().find("TLS"), std::string::npos) << job->output();
  }
  testing_job::ExpectNothingTrained(folder);
}

}  // namespace
}  // namespace closeranks
