#include "rendezvous/worker_session.h"

#include <chrono>
#include <string>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/link.h"
#include "net/system_socket.h"

namespace closeranks::rendezvous {
namespace {

constexpr Duration kTimeout = std::chrono::seconds(8);

// A worker's session, with the agent's end of it in the test's hands.
class WorkerSessionTest : public testing::Test {
 protected:
  WorkerSessionTest() {
    auto [agent_end, worker_end] = net::SystemSocket::MakePair().value();
    agent_ = std::make_unique<net::Link>(loop_, std::move(agent_end));
    WorkerSession::Handlers handlers;
    handlers.on_ended = [this](const Ended& ended) { ended_.push_back(ended); };
    session_ = std::make_unique<WorkerSession>(
        loop_, std::make_unique<net::Link>(loop_, std::move(worker_end)), Incarnation{1, 1},
        kTimeout, std::move(handlers));
  }

  void Pass(Duration time) {
    clock_.Advance(time);
    while (loop_.PollOnce(Duration::zero()) > 0) {
    }
  }
  void SendHeartbeat() { agent_->Send({.kind = net::FrameKind::kHeartbeat}, ""); }

  ManualClock clock_;
  net::EventLoop loop_{clock_};
  std::unique_ptr<net::Link> agent_;
  std::vector<Ended> ended_;
  std::unique_ptr<WorkerSession> session_;
};

TEST_F(WorkerSessionTest, AnAgentThatFallsSilentIsGivenUpOnceAndNamed) {
  for (int i = 0; i < 5; ++i) {
    SendHeartbeat();
    Pass(kTimeout / 2);
  }
  EXPECT_TRUE(ended_.empty());
  for (int i = 0; i < 5; ++i) Pass(kTimeout / 2);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(ended_[0].exit_code, ExitCode::kError);
  EXPECT_NE(ended_[0].reason.find("the supervisor (process "), std::string::npos);
}

TEST_F(WorkerSessionTest, WhoWasStoppedItselfBlamesNobody) {
  for (int i = 0; i < 3; ++i) {
    // Meanwhile the agent went on.
    SendHeartbeat();
    Pass(std::chrono::hours(1));
    Pass(kTimeout / 4);
  }
  EXPECT_TRUE(ended_.empty());
  // And when both were: it is heard in time again.
  Pass(std::chrono::hours(1));
  SendHeartbeat();
  Pass(kTimeout / 4);
  EXPECT_TRUE(ended_.empty());
}

TEST_F(WorkerSessionTest, AfterTheEndNoAgentIsMissed) {
  agent_->Send({.kind = net::FrameKind::kControl}, Encode(AgentMessage(Ended{})));
  for (int i = 0; i < 5; ++i) Pass(kTimeout);
  EXPECT_EQ(ended_, std::vector<Ended>{Ended{}});
}

}  // namespace
}  // namespace closeranks::rendezvous
