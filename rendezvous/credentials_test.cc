#include "rendezvous/credentials.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "net/background.h"
#include "net/event_loop.h"
#include "net/test_certificates.h"

namespace closeranks::rendezvous {
namespace {

using List = std::vector<std::string>;

constexpr char kOld[] = "0123456789abcdef";
constexpr char kNew[] = "fedcba9876543210";

TEST(ParseKeys, ALineIsAKey) {
  EXPECT_EQ(ParseKeys(kOld).value(), List{kOld});
  EXPECT_EQ(ParseKeys(std::string(kOld) + "\r\n\n" + kNew + "\n").value(), (List{kOld, kNew}));
}

TEST(ParseKeys, WhatIsWrongIsSaidWithoutAPartOfAKey) {
  const auto why = [](const std::string& text) { return ParseKeys(text).status(); };
  EXPECT_NE(why("").message().find("openssl rand"), std::string::npos);
  const Status torn = why(std::string(kOld) + "\nshort");
  EXPECT_NE(torn.message().find("line 2 has 5 bytes"), std::string::npos) << torn;
  EXPECT_EQ(torn.message().find("short"), std::string::npos) << torn;
  std::string many;
  for (int i = 0; i < 17; ++i) many += std::string(kOld) + "\n";
  EXPECT_EQ(why(many).code(), StatusCode::kInvalidArgument);
}

class CredentialsTest : public testing::Test {
 protected:
  CredentialsTest() {
    const std::string folder = testing::TempDir() + "/credentials";
    EXPECT_TRUE(files_.MakeFolder(folder).ok());
    security_.key_file = folder + "/keys";
    tls_ = {folder + "/certificate", folder + "/key", folder + "/authority"};
    Write({kOld});
  }
  void Write(const List& keys) {
    std::string text;
    for (const std::string& key : keys) text += key + "\n";
    ASSERT_TRUE(files_.Replace(security_.key_file, text).ok());
  }
  void WriteCertificate(const net::TlsTexts& texts) {
    ASSERT_TRUE(files_.Replace(tls_.certificate, texts.certificate).ok());
    ASSERT_TRUE(files_.Replace(tls_.key, texts.key).ok());
    ASSERT_TRUE(files_.Replace(tls_.authority, texts.authority).ok());
  }
  void PassSeconds() {
    clock_.Advance(std::chrono::seconds(3));
    while (loop_.PollOnce(Duration::zero()) > 0) {
    }
  }
  std::unique_ptr<Credentials> Open() {
    return Credentials::Open(loop_, files_, security_).value();
  }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  SystemFiles files_;
  Security security_;
  net::TlsFiles tls_;
};

TEST_F(CredentialsTest, NewKeysAreInForceWithinSeconds) {
  auto credentials = Open();
  EXPECT_EQ(*credentials->keys(), List{kOld});
  for (const List& keys : {List{kOld, kNew}, List{kNew, kOld}, List{kNew}}) {
    Write(keys);
    PassSeconds();
    EXPECT_EQ(*credentials->keys(), keys);
  }
}

TEST_F(CredentialsTest, AFileThatCantBeUsedLeavesTheKeysThatWereThere) {
  auto credentials = Open();
  for (const List& torn : {List{}, List{"fedc"}}) {
    Write(torn);
    PassSeconds();
    EXPECT_EQ(*credentials->keys(), List{kOld});
  }
  ASSERT_TRUE(files_.Remove(security_.key_file).ok());
  PassSeconds();
  EXPECT_EQ(*credentials->keys(), List{kOld});
  Write({kNew});
  PassSeconds();
  EXPECT_EQ(*credentials->keys(), List{kNew});
}

TEST_F(CredentialsTest, AFailedHandshakeLooksAtOnceButNotAgainAndAgain) {
  auto credentials = Open();
  Write({kNew});
  credentials->LookAgain();
  EXPECT_EQ(*credentials->keys(), List{kOld}) << "it has just been read";
  clock_.Advance(std::chrono::milliseconds(250));
  credentials->LookAgain();
  EXPECT_EQ(*credentials->keys(), List{kNew});
}

// A disk that does nothing until it is told.
class HangingDisk final : public net::Background {
 public:
  explicit HangingDisk(std::vector<std::function<void()>>& tasks) : tasks_(tasks) {}
  void Start(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  bool AwaitIdle() override { return tasks_.empty(); }

 private:
  std::vector<std::function<void()>>& tasks_;
};

TEST_F(CredentialsTest, ADiskThatHangsHoldsNobodyUpAndIsAskedOnce) {
  std::vector<std::function<void()>> tasks;
  auto credentials =
      Credentials::Open(loop_, files_, security_, std::make_unique<HangingDisk>(tasks)).value();
  Write({kNew});
  for (int i = 0; i < 3; ++i) {
    PassSeconds();
    credentials->LookAgain();
    ASSERT_EQ(tasks.size(), 1u);
    EXPECT_EQ(*credentials->keys(), List{kOld});
  }
  tasks[0]();
  EXPECT_EQ(*credentials->keys(), List{kOld}) << "another thread has changed them";
  loop_.PollOnce(Duration::zero());
  EXPECT_EQ(*credentials->keys(), List{kNew});
  // It is asked again; what it answers once nobody waits is of no use.
  PassSeconds();
  PassSeconds();
  ASSERT_EQ(tasks.size(), 2u);
  credentials.reset();
  tasks[1]();
  PassSeconds();
}

TEST_F(CredentialsTest, WhatABackgroundHasAnsweredIsOfNoUseOnceNobodyWaits) {
  std::vector<std::function<void()>> tasks;
  auto credentials =
      Credentials::Open(loop_, files_, security_, std::make_unique<HangingDisk>(tasks)).value();
  PassSeconds();
  ASSERT_EQ(tasks.size(), 1u);
  tasks[0]();
  credentials.reset();
  PassSeconds();
}

TEST_F(CredentialsTest, AtTheStartAFileThatCantBeUsedIsNamed) {
  security_.key_file += ".none";
  const Status why = Credentials::Open(loop_, files_, security_).status();
  EXPECT_EQ(why.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(why.message().find("--key-file=" + security_.key_file), std::string::npos) << why;
  // A worker that is started while the file is gone goes on with its supervisor's.
  security_.keys = {kOld};
  EXPECT_EQ(*Open()->keys(), List{kOld});
}

TEST_F(CredentialsTest, NewCertificatesAreInForceWithinSecondsAndTornOnesNever) {
  net::TestAuthority authority("job");
  const net::TlsTexts first = authority.Issue("one"), second = authority.Issue("two");
  WriteCertificate(first);
  security_.tls = tls_;
  auto credentials = Open();
  const auto before = credentials->tls();
  ASSERT_NE(before, nullptr);
  PassSeconds();
  EXPECT_EQ(credentials->tls(), before) << "nothing has changed";
  net::TlsTexts torn = second;
  torn.key = first.key;
  WriteCertificate(torn);
  PassSeconds();
  EXPECT_EQ(credentials->tls(), before) << "the key isn't the certificate's";
  WriteCertificate(second);
  PassSeconds();
  EXPECT_NE(credentials->tls(), before);
}

TEST_F(CredentialsTest, AWorkerThatStartsWhileCertificatesAreWrittenGoesOnWithItsSupervisors) {
  net::TestAuthority authority("job");
  const net::TlsTexts texts = authority.Issue("one");
  WriteCertificate(texts);
  security_.tls = tls_;
  auto supervisors = Open();
  net::TlsTexts torn = texts;
  torn.key = authority.Issue("two").key;
  WriteCertificate(torn);
  const Status why = Credentials::Open(loop_, files_, security_).status();
  EXPECT_EQ(why.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(why.message().find("--tls-cert"), std::string::npos) << why;
  security_ = supervisors->security();
  auto workers = Open();
  EXPECT_EQ(workers->security().tls_texts, texts);
  const net::TlsTexts second = authority.Issue("two");
  WriteCertificate(second);
  PassSeconds();
  EXPECT_EQ(workers->security().tls_texts, second);
}

}  // namespace
}  // namespace closeranks::rendezvous
