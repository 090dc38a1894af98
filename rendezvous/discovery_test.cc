#include "rendezvous/discovery.h"

#include <unistd.h>

#include <filesystem>
#include <map>
#include <optional>

#include "base/clock.h"
#include "gtest/gtest.h"
#include "net/event_loop.h"

namespace closeranks::rendezvous {
namespace {

using net::Address;
using Answer = Result<std::vector<Address>>;

TEST(Whereabouts, AListAServiceOrAFolder) {
  const Whereabouts list = Whereabouts::Parse("10.0.0.1:29400,trainer-1:29400").value();
  EXPECT_EQ(list.hosts, (std::vector<Address>{Address::Ip("10.0.0.1", 29400),
                                              Address::Ip("trainer-1", 29400)}));
  const Whereabouts numbered = Whereabouts::Parse("dns:trainer.jobs.svc:29400").value();
  EXPECT_EQ(numbered.service, "trainer.jobs.svc");
  EXPECT_EQ(numbered.port, "29400");
  EXPECT_FALSE(numbered.IsList());
  EXPECT_EQ(Whereabouts::Parse("dns:trainer:rendezvous").value().port, "rendezvous");
  EXPECT_EQ(Whereabouts::Parse("file:/shared/job").value().folder, "/shared/job");
}

TEST(Whereabouts, WhatIsWrongIsNamed) {
  for (const auto& [text, part] :
       std::map<std::string, std::string>{{"", "no host"},
                                          {"trainer", "'trainer': expected ADDRESS:PORT"},
                                          {"10.0.0.1:1,,10.0.0.2:1", "'': expected ADDRESS:PORT"},
                                          {"10.0.0.1:1,10.0.0.1:1", "twice"},
                                          {"dns:trainer", "expected dns:NAME:PORT"},
                                          {"dns::29400", "expected dns:NAME:PORT"},
                                          {"dns:trainer:0", "no port 0"},
                                          {"dns:trainer:70000", "no port 70000"},
                                          {"file:shared", "expected file:/FOLDER"}}) {
    const Status status = Whereabouts::Parse(text).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << text;
    EXPECT_NE(status.message().find(part), std::string::npos) << status;
  }
}

class FolderSourceTest : public testing::Test {
 protected:
  ~FolderSourceTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Source> Make(MemberId member, const std::string& address) {
    return MakeFolderSource(loop_, files_, folder_, "job", member, address);
  }
  Answer Find(Source& source) {
    std::optional<Answer> answer;
    source.Find([&](const Answer& got) { answer = got; });
    EXPECT_FALSE(answer) << "it called back from inside";
    while (!answer) loop_.PollOnce(Duration::max());
    return *answer;
  }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  std::shared_ptr<SystemFiles> files_ = std::make_shared<SystemFiles>();
  const std::string folder_ =
      testing::TempDir() + "/discovery_test." + std::to_string(getpid()) + "/below";
};

TEST_F(FolderSourceTest, EachFindsAllAndIsGoneAfterItsEnd) {
  auto a = Make(0, "10.0.0.1:29400");
  EXPECT_EQ(Find(*a).value(), std::vector<Address>{Address::Ip("10.0.0.1", 29400)});
  auto b = Make(1, "[fd00::2]:29400");
  const std::vector<Address> both = {Address::Ip("10.0.0.1", 29400), Address::Ip("fd00::2", 29400)};
  EXPECT_EQ(Find(*b).value(), both);
  EXPECT_EQ(Find(*a).value(), both);
  b.reset();
  EXPECT_EQ(Find(*a).value(), std::vector<Address>{Address::Ip("10.0.0.1", 29400)});
}

TEST_F(FolderSourceTest, WhatIsNoAddressIsPassedOverAndARemovedFileWrittenAgain) {
  auto a = Make(0, "10.0.0.1:29400");
  ASSERT_TRUE(Find(*a).ok());
  ASSERT_TRUE(files_->Replace(folder_ + "/job.1", "buy milk\n").ok());
  ASSERT_TRUE(files_->Replace(folder_ + "/job.2", "trainer-0:29400").ok());
  ASSERT_TRUE(files_->Remove(folder_ + "/job.0").ok());
  EXPECT_EQ(Find(*a).value(), std::vector<Address>{Address::Ip("10.0.0.1", 29400)});
}

TEST_F(FolderSourceTest, OtherJobsAndHalfWrittenFilesAreNoneOfIt) {
  auto a = Make(0, "10.0.0.1:29400");
  ASSERT_TRUE(Find(*a).ok());
  for (const char* name : {"another.1", "job.1.tmp.4711.0", "job.another.1", "job.", "jobs.1"}) {
    ASSERT_TRUE(files_->Replace(folder_ + "/" + name, "10.0.0.2:29400").ok());
  }
  EXPECT_EQ(Find(*a).value(), std::vector<Address>{Address::Ip("10.0.0.1", 29400)});
}

TEST_F(FolderSourceTest, ASuccessorsAddressStaysWhileItsPredecessorLooksAndWhenThatEnds) {
  auto a = Make(0, "10.0.0.1:29400");
  ASSERT_TRUE(Find(*a).ok());
  ASSERT_TRUE(files_->Replace(folder_ + "/job.0", "10.0.0.2:29400").ok());
  EXPECT_EQ(Find(*a).value(), std::vector<Address>{Address::Ip("10.0.0.2", 29400)});
  a.reset();
  EXPECT_EQ(files_->Read(folder_ + "/job.0").value(), "10.0.0.2:29400");
}

TEST_F(FolderSourceTest, AFolderThatCantBeUsedIsAnError) {
  ASSERT_TRUE(files_->MakeFolder(std::filesystem::path(folder_).parent_path()).ok());
  ASSERT_TRUE(files_->Replace(folder_, "a file").ok());
  auto a = Make(0, "10.0.0.1:29400");
  EXPECT_FALSE(Find(*a).ok());
}

TEST_F(FolderSourceTest, NoAnswerComesAfterItsEnd) {
  auto a = Make(0, "10.0.0.1:29400");
  bool answered = false;
  a->Find([&](const Answer&) { answered = true; });
  a.reset();
  while (loop_.PollOnce(Duration::zero()) > 0) {
  }
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace closeranks::rendezvous
