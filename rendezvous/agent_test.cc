#include "rendezvous/agent.h"

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "net/event_loop.h"
#include "net/link.h"
#include "net/system_socket.h"
#include "rendezvous/worker_session.h"

namespace closeranks::rendezvous {
namespace {

// An agent of a job of two, with a worker's end of its session in the test's hands.
class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    Agent::Options options;
    options.membership.self = 0;
    options.membership.supervisor = Incarnation::Draw(random_);
    options.membership.starting_members = 2;
    options.worker_timeout = std::chrono::hours(1);
    Agent::Owner owner;
    owner.send = [](const Envelope&) {};
    owner.security = [] { return Security(); };
    owner.kill_worker = [this](const std::string& reason, TimePoint) {
      told_.push_back("kill: " + reason);
    };
    owner.on_hung_up = [this] { told_.push_back("hung up"); };
    owner.on_progress = [](const Progress&) {};
    owner.on_hello = [this](const Hello&) { told_.push_back("hello"); };
    owner.on_ready = [this] { told_.push_back("ready"); };
    owner.on_failing = [](const Failing&) { return MemberId{-1}; };
    owner.on_lifeline = [](std::unique_ptr<net::Socket>) {};
    owner.on_flight_memory = [](std::unique_ptr<net::Socket>) {};
    owner.on_timeout = [] {};
    owner.on_notice = [](const Notice&) {};
    owner.is_worker_stopped = [this] { return stopped_; };
    owner.is_worker_dying = [this] { return dying_; };
    owner.on_outcome = [](const Agent::Ending&) {};
    agent_ = std::make_unique<Agent>(std::move(options), loop_, random_, std::move(owner));
    auto [agent_end, worker_end] = net::SystemSocket::MakePair().value();
    agent_->AttachWorker(std::make_unique<net::Link>(loop_, std::move(agent_end)));
    worker_end_ = std::move(worker_end);
  }

  // The worker says these, and is gone.
  void SayAndClose(const std::vector<WorkerMessage>& messages) {
    net::Link link(loop_, std::move(worker_end_));
    for (const WorkerMessage& message : messages) {
      link.Send({.kind = net::FrameKind::kControl}, Encode(message));
    }
  }
  void PollUntilTold(const std::string& what) {
    while (told_.empty() || told_.back().find(what) != 0) loop_.PollOnce(Duration::max());
  }

  SystemClock clock_;
  net::EventLoop loop_{clock_};
  SystemRandom random_;
  std::vector<std::string> told_;
  bool stopped_ = false;
  bool dying_ = false;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<net::Socket> worker_end_;
};

TEST_F(AgentTest, WhatADeadWorkerHadStillSaidIsTakenIn) {
  SayAndClose({Hello{Incarnation::Draw(random_), 1}, Ready{}});
  agent_->WorkerReaped();
  EXPECT_EQ(told_, (std::vector<std::string>{"hello", "ready"}));
  EXPECT_TRUE(agent_->worker_left_early());
}

TEST_F(AgentTest, AWorkerLeftEarlyWhetherItsEndIsSeenOnItsSessionOrReaped) {
  SayAndClose({Hello{Incarnation::Draw(random_), 1}, Ready{}});
  PollUntilTold("hung up");
  EXPECT_EQ(told_, (std::vector<std::string>{"hello", "ready", "hung up"}));
  EXPECT_TRUE(agent_->worker_left_early());
  agent_->WorkerReaped();
  EXPECT_TRUE(agent_->worker_left_early());
}

TEST_F(AgentTest, AGoodbyeBeforeTheJobsEndIsEarlyToo) {
  SayAndClose({Hello{Incarnation::Draw(random_), 1}, Goodbye{}});
  agent_->WorkerReaped();
  EXPECT_EQ(told_, (std::vector<std::string>{"hello"}));
  EXPECT_TRUE(agent_->worker_left_early());
}

TEST_F(AgentTest, AWorkerThatNeverSaidHelloIsNotMissed) {
  SayAndClose({});
  agent_->WorkerReaped();
  EXPECT_TRUE(told_.empty());
  EXPECT_FALSE(agent_->worker_left_early());
}

TEST_F(AgentTest, AWorkerHearsItsAgentAgainAndAgain) {
  net::Link link(loop_, std::move(worker_end_));
  int heartbeats = 0;
  link.Start({.on_frame =
                  [&heartbeats](const net::FrameHeader& header, std::string,
                                std::unique_ptr<net::Socket>) {
                    heartbeats += header.kind == net::FrameKind::kHeartbeat;
                  },
              .on_closed = [](const Status&) {}});
  while (heartbeats < 3) loop_.PollOnce(Duration::max());
}

TEST_F(AgentTest, AStoppedWorkerIsntWaitedForAsASilentOneIs) {
  net::Link link(loop_, std::move(worker_end_));
  link.Send({.kind = net::FrameKind::kControl},
            Encode(WorkerMessage(Hello{Incarnation::Draw(random_), 1})));
  stopped_ = true;
  PollUntilTold("kill: it is stopped, and wasn't heard for 150 ms");
}

TEST_F(AgentTest, AWorkerThatDumpsItsCoreIsGivenUpAndLeftToIt) {
  net::Link link(loop_, std::move(worker_end_));
  link.Send({.kind = net::FrameKind::kControl},
            Encode(WorkerMessage(Hello{Incarnation::Draw(random_), 1})));
  PollUntilTold("hello");
  dying_ = true;
  while (agent_->has_worker()) loop_.PollOnce(Duration::max());
  EXPECT_TRUE(agent_->worker_left_early());
  EXPECT_EQ(told_, (std::vector<std::string>{"hello"}));
}

TEST_F(AgentTest, AWorkerThatBreaksTheProtocolIsEndedForThat) {
  UniqueFd again(dup(worker_end_->descriptor()));
  SayAndClose({Hello{Incarnation::Draw(random_), 1}});
  const std::string garbage(100, '?');
  ASSERT_EQ(send(again.get(), garbage.data(), garbage.size(), 0), std::ssize(garbage));
  PollUntilTold("kill: its session failed: ");
}

}  // namespace
}  // namespace closeranks::rendezvous
