#include "net/resolver.h"

#include <optional>
#include <vector>

#include "gtest/gtest.h"

namespace closeranks::net {
namespace {

class SystemResolverTest : public testing::Test {
 protected:
  Result<std::vector<Address>> Ask(const Address& address) {
    std::optional<Result<std::vector<Address>>> answer;
    resolver_->Resolve(address, [&](Result<std::vector<Address>> got) { answer = got; });
    EXPECT_FALSE(answer) << "Resolve called back";
    while (!answer) loop_.PollOnce(Duration::max());
    return *answer;
  }

  SystemClock clock_;
  EventLoop loop_{clock_};
  std::optional<SystemResolver> resolver_{std::in_place, loop_};
};

TEST_F(SystemResolverTest, LiteralsAreTheirOwnAnswer) {
  for (const Address& address :
       {Address::Ip("10.0.0.7", 80), Address::Ip("::1", 80), Address::Unix("name")}) {
    EXPECT_EQ(Ask(address).value(), std::vector<Address>{address});
  }
}

TEST_F(SystemResolverTest, LocalhostIsAnsweredWithoutAskingAnybody) {
  EXPECT_EQ(Ask(Address::Ip("localhost", 80)).value(),
            (std::vector<Address>{Address::Ip("127.0.0.1", 80), Address::Ip("::1", 80)}));
}

// ".invalid" never exists (RFC 2606), whatever the servers here are.
TEST_F(SystemResolverTest, ANameThatIsNotThereIsUnavailable) {
  Result<std::vector<Address>> answer = Ask(Address::Ip("trainer-0.invalid.", 80));
  EXPECT_EQ(answer.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(answer.status().message().find("trainer-0.invalid."), std::string::npos);
}

TEST_F(SystemResolverTest, NoAnswerComesAfterItsEnd) {
  int answers = 0;
  resolver_->Resolve(Address::Ip("10.0.0.7", 80), [&](Result<std::vector<Address>>) { ++answers; });
  resolver_->Resolve(Address::Ip("trainer-0.invalid.", 80),
                     [&](Result<std::vector<Address>>) { ++answers; });
  resolver_.reset();
  while (loop_.PollOnce(Duration::zero()) > 0) {
  }
  EXPECT_EQ(answers, 0);
}

TEST_F(SystemResolverTest, MayBeDestroyedInItsOwnCallback) {
  bool answered = false;
  resolver_->Resolve(Address::Ip("::1", 80), [&](Result<std::vector<Address>>) {
    resolver_.reset();
    answered = true;
  });
  while (!answered) loop_.PollOnce(Duration::max());
}

}  // namespace
}  // namespace closeranks::net
