// What the tests of Membership stand on.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_FIXTURE_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_FIXTURE_H_

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "gtest/gtest.h"
#include "rendezvous/membership.h"

namespace closeranks::rendezvous {

// Agents on one host whose messages arrive at once, unless a test is in the way. Workers do nothing
// but obey; they freeze when a test lets them.
class MembershipTest : public ::testing::Test {
 protected:
  struct Agent {
    std::unique_ptr<Membership> membership;
    MemberProcess process;
    Incarnation worker;
    WorkerState state;
    bool freezes = true;
    std::deque<WorkerCommand> commands;
    std::optional<Outcome> outcome;
    std::optional<WorkerCommand> unanswered;
    int suspicions = 0;
    int losses = 0;
  };

  // Of a job that doesn't train with fewer than `least_hosts_`.
  Agent& Start(MemberId member, int starting_members, bool with_worker = true,
               bool has_state = true) {
    Agent& agent = agents_[member];
    agent = Agent{};
    agent.process = {member, Incarnation::Draw(random_)};
    MembershipOptions options = options_;
    options.self = member;
    options.supervisor = agent.process.incarnation;
    options.starting_members = starting_members;
    options.least_hosts = least_hosts_;
    options.witness = member == witness_;
    options.quorum_timeout = std::chrono::seconds(5);
    options.join_timeout = join_timeout_;
    agent.membership = std::make_unique<Membership>(options, random_, now_);
    for (auto& [other, there] : agents_) {
      if (other == member) continue;
      there.membership->OnPeerLinkUp(now_, agent.process);
      agent.membership->OnPeerLinkUp(now_, there.process);
    }
    if (with_worker) StartWorker(member, has_state);
    Settle();
    return agent;
  }

  void StartWorker(MemberId member, bool has_state) {
    Agent& agent = agents_[member];
    agent.worker = Incarnation::Draw(random_);
    agent.state = {};
    agent.membership->OnWorkerReady(now_, agent.worker, "card", terms_[member],
                                    has_state ? std::optional(agent.state) : std::nullopt);
    Settle();
  }

  void StartAll(int members) {
    for (MemberId member = 0; member < members; ++member) Start(member, members);
    ASSERT_EQ(InstalledBy(0), 1u);
  }

  void KillWorker(MemberId member) {
    const Incarnation worker = std::exchange(agents_[member].worker, {});
    agents_[member].membership->OnWorkerGone(now_, worker);
    Settle();
  }

  // With its worker; the others see its links close.
  void KillAgent(MemberId member) {
    const MemberProcess process = agents_[member].process;
    agents_.erase(member);
    for (auto& [other, agent] : agents_) agent.membership->OnPeerLinkDown(now_, process);
    Settle();
  }

  // The worker of `from` reports it so often, each time in the generation that came of the last.
  void BreakLink(MemberId from, MemberId to, int times) {
    for (int i = 0; i < times; ++i) {
      agents_[from].membership->OnWorkerReport(now_, InstalledBy(from), {to, agents_[to].worker});
      Settle();
      Pass(std::chrono::milliseconds(20));
    }
    Pass(std::chrono::milliseconds(300));
  }

  void AnswerFreeze(MemberId member) {
    Agent& agent = agents_[member];
    ASSERT_TRUE(agent.unanswered.has_value());
    agent.membership->OnWorkerFrozen(now_, agent.worker, agent.unanswered->generation, agent.state);
    agent.unanswered.reset();
    Settle();
  }

  // Delivers everything, in order, without time passing.
  void Settle() {
    bool any = true;
    while (any) {
      any = false;
      for (auto& [member, agent] : agents_) {
        MembershipOutputs outputs = agent.membership->TakeOutputs();
        any |= !outputs.messages.empty() || !outputs.commands.empty();
        if (outputs.outcome.has_value()) agent.outcome = outputs.outcome;
        agent.suspicions += static_cast<int>(outputs.suspicions.size());
        agent.losses += static_cast<int>(outputs.losses.size());
        for (WorkerCommand& command : outputs.commands) Obey(agent, std::move(command));
        for (Envelope& envelope : outputs.messages) wire_.push_back(std::move(envelope));
      }
      std::deque<Envelope> wire = std::exchange(wire_, {});
      for (Envelope& envelope : wire) {
        auto to = agents_.find(envelope.to);
        if (to == agents_.end()) continue;
        if (cut_.contains({envelope.message.from.member, envelope.to})) continue;
        ++delivered_;
        to->second.membership->OnMessage(now_, envelope.message);
      }
    }
  }

  void Obey(Agent& agent, WorkerCommand command) {
    agent.commands.push_back(command);
    if (command.worker != agent.worker) return;
    if (command.kind == WorkerCommand::Kind::kFreeze) {
      agent.unanswered = command;
      if (agent.freezes) {
        agent.membership->OnWorkerFrozen(now_, agent.worker, command.generation, agent.state);
        agent.unanswered.reset();
      }
    } else if (command.kind == WorkerCommand::Kind::kInstall) {
      agent.state = command.decision->resume;
      agent.membership->OnWorkerEntered(now_, agent.worker, command.generation);
    }
  }

  void Pass(Duration time) {
    const TimePoint end = now_ + time;
    while (now_ < end) {
      TimePoint next = end;
      for (auto& [member, agent] : agents_) {
        next = std::min(next, agent.membership->next_deadline());
      }
      now_ = std::max(now_, next);
      for (auto& [member, agent] : agents_) {
        if (agent.membership->next_deadline() <= now_) agent.membership->OnTick(now_);
      }
      Settle();
    }
  }

  // The generation that the member's worker was told to install last; 0: none.
  Generation InstalledBy(MemberId member) {
    const Agent& agent = agents_[member];
    for (auto command = agent.commands.rbegin(); command != agent.commands.rend(); ++command) {
      if (command->kind == WorkerCommand::Kind::kInstall && command->worker == agent.worker) {
        return command->generation;
      }
    }
    return 0;
  }

  void Cut(MemberId a, MemberId b) {
    cut_.insert({a, b});
    cut_.insert({b, a});
  }

  MembershipOptions options_;
  SeededRandom random_{5};
  TimePoint now_ = TimePoint{} + std::chrono::seconds(100);
  std::map<MemberId, Agent> agents_;
  std::map<MemberId, Terms> terms_;  // of its workers
  std::deque<Envelope> wire_;
  std::set<std::pair<MemberId, MemberId>> cut_;
  int delivered_ = 0;
  int least_hosts_ = 1;
  Duration join_timeout_ = std::chrono::seconds(20);
  MemberId witness_ = -1;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_FIXTURE_H_
