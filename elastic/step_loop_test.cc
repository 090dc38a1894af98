// Ranks in threads of one process, over real communicators; the test makes the agreement's
// decisions.
#include "elastic/step_loop.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <latch>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "collectives/engine/engine.h"
#include "collectives/engine/progress_thread.h"
#include "collectives/native_communicator.h"
#include "collectives/transport/tcp_transport.h"
#include "elastic/toy_replica.h"
#include "gtest/gtest.h"
#include "net/system_socket.h"
#include "rendezvous/membership_value.h"

namespace closeranks::elastic {
namespace {

constexpr int kSamples = 60, kBatch = 12, kEpochs = 3;
constexpr StepNumber kSteps = kSamples / kBatch * kEpochs;
// The toy's state takes five of them.
constexpr size_t kChunkBytes = 160;

// Where a test takes hold of a rank, on its training thread.
struct Hooks {
  std::function<void(StepNumber)> begun = [](StepNumber) {};
  // False: the rank is lost.
  std::function<bool(StepNumber)> part = [](StepNumber) { return true; };
  // Before it asks whether to apply.
  std::function<void(StepNumber)> reduced = [](StepNumber) {};
  std::function<void(StepNumber)> committed = [](StepNumber) {};
  // Sets by hand, before it is computed, how the step is to be applied.
  std::function<int(StepNumber)> settings = [](StepNumber) { return 0; };
  // True: applies it as no other rank does.
  std::function<bool(StepNumber)> strays = [](StepNumber) { return false; };
  StepNumber audit_every = 0;
  // Of a piece of the state that audits pass over.
  std::string own_words = "";
  std::function<bool()> leaves = [] { return false; };
  std::function<void()> leaving = [] {};
};

class HookedReplica final : public ToyReplica {
 public:
  HookedReplica(int shards, Hooks& hooks) : ToyReplica(1, shards), hooks_(hooks) {}
  void BeginStep(StepNumber step) override {
    step_ = step;
    ToyReplica::BeginStep(step);
    hooks_.begun(step);
  }
  Status FinishReduction() override {
    Status status = ToyReplica::FinishReduction();
    if (status.ok()) hooks_.reduced(step_);
    return status;
  }
  std::vector<Piece> Pieces() override {
    ++copies;
    std::vector<Piece> pieces = ToyReplica::Pieces();
    if (!hooks_.own_words.empty()) {
      pieces.push_back(OpaquePiece("words", hooks_.own_words));
      pieces.back().is_comparable = false;
    }
    return pieces;
  }
  void Apply(StepNumber step) override {
    ToyReplica::Apply(step);
    if (hooks_.strays(step) || settings == 1) ToyReplica::Apply(step);
  }
  uint64_t SettingsHash() const override { return static_cast<uint64_t>(settings); }

  int settings = 0;
  int copies = 0;  // of its state

 private:
  Hooks& hooks_;
  StepNumber step_ = 0;
};

class Job;

// One member: its engine, its gate, its training thread.
class Rank final : public StepObserver {
 public:
  Rank(Job& job, MemberId member, int shards, Hooks hooks);
  ~Rank() override;

  void OnWorld(const ConnectedWorld&, const Entry& entry) override { entries.push_back(entry); }
  void OnTransfer(const ConnectedWorld&, size_t, TimePoint, TimePoint) override { ++transfers; }
  void OnStepBegin(const StepInfo&) override {}
  void OnCommit(const StepInfo& info) override { hooks_.committed(info.step); }

  // Blocks until the training thread is at an end.
  Status Join() {
    thread.join();
    return result;
  }

  MemberProcess process;
  SystemClock clock;
  collectives::Engine engine{clock};
  std::map<MemberId, std::unique_ptr<collectives::Transport>> transports;
  std::unique_ptr<collectives::ProgressThread> progress;
  StepGate gate{rendezvous::WorkerState{}, std::make_unique<SystemCondition>()};
  int transfers = 0;
  std::vector<Entry> entries;
  Hooks hooks_;
  HookedReplica replica;
  ToyBatches batches{kSamples, kBatch, kEpochs};
  StepLoop loop;
  Status result;
  std::thread thread;

 private:
  Status Train();
};

// The agreement: which ranks there are, and what they resume from.
class Job {
 public:
  explicit Job(int shards = 0) : shards_(shards) {}

  Rank& Add(MemberId member, Hooks hooks = {}) {
    auto rank = std::make_unique<Rank>(*this, member, shards_, std::move(hooks));
    for (auto& [other, theirs] : ranks_) Connect(*rank, *theirs);
    return *(ranks_[member] = std::move(rank));
  }
  Rank& rank(MemberId member) { return *ranks_.at(member); }

  // A generation of these members: asks them to stop, decides, opens.
  void Agree(const std::set<MemberId>& members) {
    std::vector<rendezvous::Answer> answers;
    for (MemberId member : members) answers.push_back(AskToStop(member));
    rendezvous::Choice choice = decision_ == nullptr
                                    ? rendezvous::FirstValue(answers, Incarnation{7, 7})
                                    : rendezvous::NextValue(*decision_, answers);
    ASSERT_NE(choice.value, nullptr) << choice.hold_reason;
    {
      std::lock_guard lock(mutex_);
      decision_ = choice.value;
      done_.clear();
    }
    for (MemberId member : members) Open(rank(member));
  }
  const rendezvous::DecisionRef& decision() const { return decision_; }

  void OnDone(MemberId member) {
    {
      std::lock_guard lock(mutex_);
      done_.insert(member);
      if (done_.size() < decision_->members.size()) return;
    }
    const rendezvous::WorkerState end = rank(member).gate.state();
    for (auto& [id, rank] : ranks_) rank->gate.End(OkStatus(), end);
  }

 private:
  static void Connect(Rank& a, Rank& b) {
    auto [one, other] = net::SystemSocket::MakePair().value();
    for (auto [from, to, end] : {std::tuple(&a, &b, &one), std::tuple(&b, &a, &other)}) {
      auto transport = collectives::MakeTcpTransport(std::move(*end), to->process);
      ASSERT_TRUE(from->engine.Attach(*transport).ok());
      from->transports[to->process.member] = std::move(transport);
    }
  }

  rendezvous::Answer AskToStop(MemberId member) {
    std::promise<rendezvous::WorkerState> stopped;
    rank(member).gate.Shut(StaleGeneration("a new generation"),
                           [&](rendezvous::WorkerState state) { stopped.set_value(state); });
    rendezvous::Answer answer;
    answer.from = {member, {100, static_cast<uint64_t>(member) + 1}};
    answer.promise.agent.worker = rank(member).process.incarnation;
    answer.promise.state = stopped.get_future().get();
    return answer;
  }

  void Open(Rank& rank) {
    auto world = std::make_shared<ConnectedWorld>();
    world->decision = decision_;
    world->world = decision_->world();
    world->rank = world->world.RankOf(rank.process);
    std::vector<collectives::Transport*> transports;
    for (const MemberProcess& process : world->world.ranks) {
      transports.push_back(process == rank.process ? nullptr
                                                   : rank.transports.at(process.member).get());
    }
    auto communicator =
        MakeNativeCommunicator(world->rank, world->world.size(), decision_->generation, rank.engine,
                               transports, rank.clock, {});
    ASSERT_TRUE(communicator.ok()) << communicator.status();
    world->communicator = *std::move(communicator);
    rank.gate.Open(std::move(world));
  }

  int shards_;
  std::map<MemberId, std::unique_ptr<Rank>> ranks_;
  std::mutex mutex_;
  rendezvous::DecisionRef decision_;
  std::set<MemberId> done_;
};

Rank::Rank(Job& job, MemberId member, int shards, Hooks hooks)
    : process{member, {1, static_cast<uint64_t>(member) + 1}},
      progress(std::make_unique<collectives::ProgressThread>(engine)),
      hooks_(std::move(hooks)),
      replica(shards, hooks_),
      loop(gate, replica, batches, Ledger(), *this, clock,
           {.logical_shards = shards,
            .report_failure = [](Generation, const Status&) {},
            .report_done = [&job, member](rendezvous::WorkerState) { job.OnDone(member); },
            .leaves = hooks_.leaves,
            .report_leaving = hooks_.leaving,
            .audit_every = hooks_.audit_every,
            .least_chunk_bytes = kChunkBytes}),
      thread([this] { result = Train(); }) {}

Rank::~Rank() {
  gate.End(Aborted("the test ends"));
  if (thread.joinable()) thread.join();
  progress.reset();
  for (auto& [member, transport] : transports) engine.Detach(*transport);
}

Status Rank::Train() {
  while (true) {
    ASSIGN_OR_RETURN(bool more, loop.NextStep());
    if (!more) return loop.Finish();
    replica.settings = hooks_.settings(loop.step());
    for (size_t i = 0; i < loop.todo().size(); ++i) {
      if (!hooks_.part(loop.step())) return Aborted("lost");
      loop.BeginPart(i);
      double loss = replica.Compute(loop.step(), loop.SamplesOf(loop.todo()[i]));
      loop.EndPart(i, loss);
    }
    RETURN_IF_ERROR(loop.Commit().status());
  }
}

std::string Undisturbed(int shards) {
  Job job(shards);
  Rank& rank = job.Add(0);
  job.Agree({0});
  EXPECT_TRUE(rank.Join().ok()) << rank.result;
  EXPECT_EQ(rank.gate.state().applied, kSteps);
  return rank.replica.Hash();
}

void ExpectTrained(Job& job, const std::set<MemberId>& members, int shards) {
  const std::string expected = Undisturbed(shards);
  for (MemberId member : members) {
    Rank& rank = job.rank(member);
    EXPECT_TRUE(rank.Join().ok()) << rank.result;
    EXPECT_EQ(rank.replica.Hash(), expected) << "member " << member;
    EXPECT_EQ(rank.gate.state(), job.rank(*members.begin()).gate.state());
  }
}

// Holds one rank at its first part of a step.
class Pause {
 public:
  explicit Pause(StepNumber step) : step_(step) {}
  std::function<bool(StepNumber)> hook() {
    return [this](StepNumber step) {
      if (step == step_ && !std::exchange(done_, true)) {
        at_step_.set_value();
        go_on_.get_future().wait();
      }
      return true;
    };
  }
  void Await() { at_step_.get_future().wait(); }
  void Go() { go_on_.set_value(); }

 private:
  const StepNumber step_;
  bool done_ = false;
  std::promise<void> at_step_, go_on_;
};

class StepLoopTest : public testing::TestWithParam<int> {
 protected:
  int shards() const { return GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Modes, StepLoopTest, testing::Values(0, 8),
                         [](const auto& info) { return info.param == 0 ? "Fast" : "Exact"; });

TEST_P(StepLoopTest, RanksTogetherComeToWhatOneComesTo) {
  Job job(shards());
  for (MemberId member = 0; member < 3; ++member) job.Add(member);
  job.Agree({0, 1, 2});
  ExpectTrained(job, {0, 1, 2}, shards());
}

TEST_P(StepLoopTest, WhatALostRankHadToComputeIsComputedOnceMoreAndNothingElse) {
  Job job(shards());
  std::promise<void> lost;
  std::latch others_hold_step_3(2);
  auto survivor = [&](StepNumber step) {
    if (step == 3) others_hold_step_3.count_down();
  };
  job.Add(0, {.committed = survivor});
  job.Add(1, {.part = [&](StepNumber step) {
            if (step != 4) return true;
            others_hold_step_3.wait();
            lost.set_value();
            return false;
          }});
  job.Add(2, {.committed = survivor});
  job.Agree({0, 1, 2});
  lost.get_future().wait();
  job.Agree({0, 2});
  ExpectTrained(job, {0, 2}, shards());
  int64_t computed = 0;
  for (MemberId member = 0; member < 3; ++member) computed += job.rank(member).replica.computed();
  EXPECT_EQ(computed, kSamples * kEpochs);
  const StepObserver::Entry& entry = job.rank(0).entries.back();
  EXPECT_LT(entry.asked, entry.entered);
  EXPECT_EQ(entry.transfer_begin, TimePoint()) << "nobody joined";
}

TEST_P(StepLoopTest, WhoMissedAnUpdateAppliesItsReducedGradients) {
  Job job(shards());
  std::promise<void> applied, behind;
  std::shared_future<void> has_applied = applied.get_future().share();
  // Member 1 comes to the step's end when the world is already changing.
  auto late = [&](StepNumber step) {
    if (step != 4) return;
    has_applied.wait();
    job.rank(1).gate.Shut(StaleGeneration("a new generation"), [](rendezvous::WorkerState) {});
    behind.set_value();
  };
  job.Add(0, {.committed = [&](StepNumber step) {
            if (step == 4) applied.set_value();
          }});
  job.Add(1, {.reduced = late});
  job.Add(2);
  job.Agree({0, 1, 2});
  behind.get_future().wait();
  job.Agree({0, 1, 2});
  EXPECT_EQ(job.decision()->resume.applied, 4u);
  EXPECT_EQ(job.decision()->floor, 3u);
  ExpectTrained(job, {0, 1, 2}, shards());
  // At the start only.
  EXPECT_EQ(job.rank(1).transfers, 1);
}

TEST_P(StepLoopTest, AJoinerReceivesTheState) {
  Job job(shards());
  Pause pause(5);
  job.Add(0, {.part = pause.hook()});
  job.Add(1);
  job.Agree({0, 1});
  pause.Await();
  job.Add(2);
  // And another change before anybody has entered that world.
  job.Agree({0, 1, 2});
  job.Agree({0, 1, 2});
  pause.Go();
  ExpectTrained(job, {0, 1, 2}, shards());
  EXPECT_EQ(job.rank(2).transfers, 1);
  EXPECT_EQ(job.rank(0).transfers, 0);
  // The others stepped on meanwhile.
  EXPECT_EQ(job.decision()->resume.applied, 4u);
  EXPECT_EQ(job.rank(0).entries.back().resumed_from, 4u);
  EXPECT_EQ(job.rank(0).entries.back().transfer_begin, TimePoint());
  ASSERT_EQ(job.rank(2).entries.size(), 1u);
  const StepObserver::Entry& entry = job.rank(2).entries.back();
  EXPECT_GT(entry.resumed_from, 5u);
  EXPECT_GT(job.rank(2).replica.computed(), 0) << "it had its part of the last steps";
  EXPECT_LT(entry.transfer_begin, entry.transfer_end);
  EXPECT_LE(entry.transfer_end, entry.entered);
}

TEST_P(StepLoopTest, ATransferGoesOnWhenOneOfItsSourcesIsLost) {
  Job job(shards());
  Pause pause(3);
  std::promise<void> lost;
  std::latch others_have_step_4(3);
  auto has_step_4 = [&](StepNumber step) {
    if (step == 5) others_have_step_4.count_down();
  };
  job.Add(0, {.begun = has_step_4, .part = pause.hook()});
  job.Add(1, {.part = [&](StepNumber step) {
            if (step < 5) return true;
            others_have_step_4.wait();
            lost.set_value();
            return false;
          }});
  job.Add(2, {.begun = has_step_4});
  job.Agree({0, 1, 2});
  pause.Await();
  job.Add(3, {.begun = has_step_4});
  job.Agree({0, 1, 2, 3});
  pause.Go();
  lost.get_future().wait();
  job.Agree({0, 2, 3});
  ExpectTrained(job, {0, 2, 3}, shards());
  EXPECT_EQ(job.rank(3).transfers, 1);
  EXPECT_EQ(job.rank(2).replica.copies, 1) << "it began anew";
  EXPECT_GT(job.rank(3).entries.back().resumed_from, 5u);
}

TEST_P(StepLoopTest, WhoLeavesDoesntWaitForATransferThatOthersCanGoOnWith) {
  Job job(shards());
  Pause pause(3);
  std::promise<void> left;
  std::atomic<bool> leaves = false;
  job.Add(0, {.part = pause.hook()});
  job.Add(1, {.part =
                  [&](StepNumber step) {
                    leaves = step >= 5;
                    return true;
                  },
              .leaves = [&] { return leaves.load(); },
              .leaving = [&] { left.set_value(); }});
  job.Add(2);
  job.Agree({0, 1, 2});
  pause.Await();
  job.Add(3);
  job.Agree({0, 1, 2, 3});
  pause.Go();
  left.get_future().wait();
  job.rank(1).gate.End(Aborted("it has left"));
  job.Agree({0, 2, 3});
  ExpectTrained(job, {0, 2, 3}, shards());
  EXPECT_EQ(job.rank(1).Join().code(), StatusCode::kAborted);
  EXPECT_EQ(job.rank(1).gate.state().applied, 5u) << "the step in which it was told";
  EXPECT_EQ(job.decision()->resume.applied, 5u);
  EXPECT_EQ(job.rank(3).transfers, 1);
  EXPECT_EQ(job.rank(2).replica.copies, 1) << "it began anew";
  EXPECT_GT(job.rank(3).entries.back().resumed_from, 5u) << "it stood";
}

// Who only hears of the steps couldn't make them.
TEST_P(StepLoopTest, AProgramThatChangesItsUpdatesByHandSendsTheStateStandingStill) {
  Job job(shards());
  Pause pause(5);
  const auto settings = [](StepNumber step) { return static_cast<int>(step % 2); };
  job.Add(0, {.part = pause.hook(), .settings = settings});
  job.Agree({0});
  pause.Await();
  job.Add(1, {.settings = settings});
  job.Agree({0, 1});
  pause.Go();
  for (MemberId member : {0, 1}) EXPECT_TRUE(job.rank(member).Join().ok());
  EXPECT_EQ(job.rank(1).replica.Hash(), job.rank(0).replica.Hash());
  EXPECT_EQ(job.rank(1).entries.back().resumed_from, 6u) << "the first step that shows it";
}

TEST_P(StepLoopTest, ATransferThatTheRunsEndOvertakesIsDoneAtTheEnd) {
  Job job(shards());
  Pause pause(kSteps - 1);
  job.Add(0, {.part = pause.hook()});
  job.Agree({0});
  pause.Await();
  job.Add(1);
  job.Agree({0, 1});
  pause.Go();
  ExpectTrained(job, {0, 1}, shards());
  EXPECT_EQ(job.rank(1).transfers, 1);
  EXPECT_EQ(job.rank(1).replica.computed(), 0);
}

// Who hasn't the state yet has nothing to compare.
TEST_P(StepLoopTest, AnAuditLeavesOutWhoseStateIsStillOnItsWay) {
  Job job(shards());
  Pause pause(3);
  job.Add(0, {.part = pause.hook(), .audit_every = 1});
  job.Agree({0});
  pause.Await();
  job.Add(1, {.audit_every = 1});
  job.Agree({0, 1});
  pause.Go();
  ExpectTrained(job, {0, 1}, shards());
  EXPECT_GT(job.rank(1).entries.back().resumed_from, 4u) << "there was nobody to leave out";
}

TEST_P(StepLoopTest, AnAuditFindsNothingWhereNothingDiffers) {
  Job job(shards());
  for (MemberId member = 0; member < 3; ++member) job.Add(member, {.audit_every = 1});
  job.Agree({0, 1, 2});
  ExpectTrained(job, {0, 1, 2}, shards());
}

TEST_P(StepLoopTest, AnAuditEndsEveryRankWhereOneDiffers) {
  Job job(shards());
  auto strays = [](StepNumber step) { return step == 4; };
  job.Add(0, {.strays = strays, .audit_every = 3});
  for (MemberId member : {1, 2}) job.Add(member, {.audit_every = 3});
  job.Agree({0, 1, 2});
  for (MemberId member = 0; member < 3; ++member) {
    Rank& rank = job.rank(member);
    const Status ended = rank.Join();
    EXPECT_EQ(ended.code(), StatusCode::kMismatch) << ended;
    EXPECT_EQ(ended.message().find("after step 6: the ranks' state differs: weights.0 (F32 ["), 0u)
        << ended;
    EXPECT_EQ(rank.gate.state().applied, 6u);
  }
}

// Members 0 and 1 begin; member 2 joins in step 3, of which neither is behind.
void JoinInStep3(Job& job, Hooks first, Hooks second, const Hooks& joiner) {
  std::latch hold_step_2(2);
  std::promise<void> go_on;
  std::shared_future<void> may_go_on = go_on.get_future().share();
  for (Hooks* hooks : {&first, &second}) {
    hooks->committed = [&hold_step_2, may_go_on](StepNumber step) {
      if (step != 2) return;
      hold_step_2.count_down();
      may_go_on.wait();
    };
  }
  job.Add(0, std::move(first));
  job.Add(1, std::move(second));
  job.Agree({0, 1});
  hold_step_2.wait();
  job.Add(2, joiner);
  job.Agree({0, 1, 2});
  go_on.set_value();
}

TEST_P(StepLoopTest, AJoinEndsEveryRankWhereThoseWhoAreThereDiffer) {
  Job job(shards());
  auto strays = [](StepNumber step) { return step == 2; };
  JoinInStep3(job, {}, {.strays = strays}, {});
  for (MemberId member = 0; member < 3; ++member) {
    const Status ended = job.rank(member).Join();
    EXPECT_EQ(ended.code(), StatusCode::kMismatch) << ended;
    EXPECT_NE(ended.message().find("the ranks' state differs: weights.0 (F32 ["), std::string::npos)
        << ended;
  }
}

TEST_P(StepLoopTest, WhatRanksPutDifferentlyIntoWordsIsNoDifference) {
  Job job(shards());
  auto with = [](const char* words) { return Hooks{.audit_every = 2, .own_words = words}; };
  JoinInStep3(job, with("at 0x1000"), with("at 0x20000"), with("at 0x3"));
  ExpectTrained(job, {0, 1, 2}, shards());
}

TEST_P(StepLoopTest, RanksThatEndWithDifferentWeightsAllSayWhichTheyAre) {
  Job job(shards());
  job.Add(0);
  job.Add(1, {.strays = [](StepNumber step) { return step == 4; }});
  job.Add(2);
  job.Agree({0, 1, 2});
  for (MemberId member = 0; member < 3; ++member) {
    Rank& rank = job.rank(member);
    const Status ended = rank.Join();
    EXPECT_EQ(ended.code(), StatusCode::kMismatch) << ended;
    EXPECT_NE(ended.message().find("rank 0,2 has " + job.rank(0).replica.Hash()), std::string::npos)
        << ended;
    EXPECT_NE(ended.message().find("rank 1 has " + job.rank(1).replica.Hash()), std::string::npos)
        << ended;
  }
}

TEST(StepLoop, WhoComesAfterTheEndSaysThatItHoldsNothing) {
  Job job;
  Rank& rank = job.Add(0);
  rank.gate.End(OkStatus(), {9, 1, 1});
  EXPECT_EQ(rank.Join().code(), StatusCode::kAborted);
}

TEST(StepLoop, AnEndThatIsntGoodIsTheRunsError) {
  Job job;
  Rank& rank = job.Add(0);
  rank.gate.End(StaleGeneration("replaced"));
  EXPECT_EQ(rank.Join().code(), StatusCode::kStaleGeneration);
}

}  // namespace
}  // namespace closeranks::elastic
