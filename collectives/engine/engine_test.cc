// What threads may do with an engine at the same time. Real transports, one engine for each rank,
// all in this process; what depends on time lies in transports that never answer.
#include "collectives/engine/engine.h"

#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/unique_fd.h"
#include "collectives/algorithms/direct_allreduce.h"
#include "collectives/algorithms/dissemination_barrier.h"
#include "collectives/engine/progress_thread.h"
#include "collectives/transport/shm_transport.h"
#include "collectives/transport/tcp_transport.h"
#include "gtest/gtest.h"
#include "net/system_socket.h"

namespace closeranks::collectives {
namespace {

enum class Kind { kTcp, kShm, kMixed };

std::pair<std::unique_ptr<Transport>, std::unique_ptr<Transport>> MakePair(Kind kind, int a,
                                                                           int b) {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  UniqueFd one(fds[0]), two(fds[1]);
  const MemberProcess first{a, {1, 1}}, second{b, {1, 1}};
  if (kind == Kind::kTcp || (kind == Kind::kMixed && (a + b) % 2 == 0)) {
    return {MakeTcpTransport(std::make_unique<net::SystemSocket>(std::move(one)), second),
            MakeTcpTransport(std::make_unique<net::SystemSocket>(std::move(two)), first)};
  }
  const ShmTransportOptions options{.slot_bytes = 4096, .slots = 4};
  return {MakeShmTransport(std::move(one), second, options).value(),
          MakeShmTransport(std::move(two), first, options).value()};
}

// One rank.
struct Rank {
  Rank() : engine(clock) {}
  ~Rank() {
    group.reset();
    progress.reset();
    for (const auto& transport : transports) {
      if (transport) engine.Detach(*transport);
    }
  }

  void Open(int rank, Generation generation) {
    GroupSpec spec;
    spec.rank = rank;
    spec.size = static_cast<int>(transports.size());
    spec.generation = generation;
    for (const auto& transport : transports) spec.transports.push_back(transport.get());
    group = engine.OpenGroup(spec).value();
    sequence = 0;
  }
  void Close() { engine.CloseGroup(std::exchange(group, nullptr)); }

  Work AllReduce(std::vector<int64_t>& values, TimePoint deadline = kNever) {
    OperationSpec spec;
    spec.call.operation = OperationKind::kAllReduce;
    spec.call.type = DataType::kInt64;
    spec.call.algorithm = Algorithm::kDirectAllReduce;
    spec.call.count = values.size();
    spec.sequence = sequence++;
    spec.deadline = deadline;
    spec.schedule = std::make_shared<Schedule>(
        DirectAllReduce({group->rank(), group->size(), values.size(), 1000, true}));
    spec.inputs = {values.data()};
    spec.output = values.data();
    return engine.Submit(group, std::move(spec));
  }

  SystemClock clock;
  Engine engine;
  std::vector<std::unique_ptr<Transport>> transports;
  std::unique_ptr<ProgressThread> progress;
  std::shared_ptr<Group> group;
  uint64_t sequence = 0;
};

class EngineTest : public testing::TestWithParam<Kind> {
 protected:
  void Make(int size, bool with_progress) {
    for (int rank = 0; rank < size; ++rank) {
      ranks_.push_back(std::make_unique<Rank>());
      ranks_[rank]->transports.resize(size);
    }
    for (int a = 0; a < size; ++a) {
      for (int b = a + 1; b < size; ++b) {
        auto [one, two] = MakePair(GetParam(), a, b);
        ranks_[a]->transports[b] = std::move(one);
        ranks_[b]->transports[a] = std::move(two);
      }
    }
    for (const auto& rank : ranks_) {
      for (const auto& transport : rank->transports) {
        if (transport == nullptr) continue;
        ASSERT_TRUE(rank->engine.Attach(*transport).ok());
      }
      if (with_progress) rank->progress = std::make_unique<ProgressThread>(rank->engine);
    }
  }
  void OpenAll(Generation generation) {
    for (size_t i = 0; i < ranks_.size(); ++i) ranks_[i]->Open(static_cast<int>(i), generation);
  }
  void CloseAll() {
    for (const auto& rank : ranks_) rank->Close();
  }
  // `body` for each rank in a thread of its own.
  template <typename Body>
  void OnAllRanks(Body body) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < ranks_.size(); ++i) {
      threads.emplace_back([&, i] { body(static_cast<int>(i), *ranks_[i]); });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<std::unique_ptr<Rank>> ranks_;
};

std::string KindName(const testing::TestParamInfo<Kind>& info) {
  constexpr const char* kNames[] = {"Tcp", "Shm", "Mixed"};
  return kNames[static_cast<int>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Kinds, EngineTest, testing::Values(Kind::kTcp, Kind::kShm, Kind::kMixed),
                         KindName);

TEST_P(EngineTest, ManyThreadsMayWaitAtOnce) {
  for (bool with_progress : {false, true}) {
    ranks_.clear();
    Make(3, with_progress);
    OpenAll(1);
    OnAllRanks([](int rank, Rank& r) {
      std::vector<std::vector<int64_t>> values;
      std::vector<Work> works;
      for (int i = 0; i < 6; ++i) values.emplace_back(20000, rank + i);
      for (auto& v : values) works.push_back(r.AllReduce(v));
      std::vector<std::thread> waiters;
      for (int i = 5; i >= 0; --i) {
        waiters.emplace_back([&, i] {
          EXPECT_TRUE(works[i].Wait().ok());
          EXPECT_EQ(values[i], std::vector<int64_t>(20000, 3 + 3 * i));
        });
      }
      for (std::thread& waiter : waiters) waiter.join();
    });
    CloseAll();
  }
}

TEST_P(EngineTest, WithoutWaitersTheProgressThreadDrives) {
  Make(2, true);
  OpenAll(1);
  OnAllRanks([](int rank, Rank& r) {
    for (int i = 0; i < 20; ++i) {
      std::vector<int64_t> values(i % 2 == 0 ? 10 : 30000, rank);
      Work work = r.AllReduce(values);
      while (!work.IsDone()) std::this_thread::yield();
      EXPECT_TRUE(work.Wait().ok());
      EXPECT_EQ(values.front(), 1);
      EXPECT_EQ(values.back(), 1);
      // A wait in between, after which the progress thread has to come back.
      EXPECT_TRUE(r.AllReduce(values).Wait().ok());
    }
  });
  CloseAll();
}

TEST_P(EngineTest, AbortFromAnotherThreadUnblocksAllWaiters) {
  for (bool with_progress : {false, true}) {
    ranks_.clear();
    Make(2, with_progress);
    OpenAll(1);
    Rank& r = *ranks_[0];
    std::vector<std::vector<int64_t>> values(3, std::vector<int64_t>(50000, 1));
    std::vector<Work> works;
    for (auto& v : values) works.push_back(r.AllReduce(v));  // rank 1 never comes
    std::vector<std::thread> waiters;
    std::atomic<int> begun{0};
    for (Work& work : works) {
      waiters.emplace_back([&] {
        ++begun;
        EXPECT_EQ(work.Wait(), Aborted("enough"));
      });
    }
    while (begun < 3) std::this_thread::yield();
    r.engine.Abort(r.group, Aborted("enough"));
    for (Work& work : works) EXPECT_TRUE(work.IsDone());
    for (std::thread& waiter : waiters) waiter.join();
    EXPECT_EQ(r.AllReduce(values[0]).Wait(), Aborted("enough"));
    r.engine.Abort(r.group, Aborted("again"));
    EXPECT_EQ(r.engine.HealthOf(r.group), Aborted("enough")) << "the first reason stays";
    CloseAll();
  }
}

TEST_P(EngineTest, DeadlineEndsAWaitWithoutProgressThread) {
  Make(2, false);
  OpenAll(1);
  Rank& r = *ranks_[0];
  std::vector<int64_t> values(10);
  Work work = r.AllReduce(values, r.clock.Now() + std::chrono::milliseconds(20));
  const Status status = work.Wait();
  EXPECT_EQ(status.code(), StatusCode::kTimeout) << status;
  EXPECT_EQ(status.suspected_rank(), 1);
  CloseAll();
}

TEST_P(EngineTest, DeadlineEndsAWorkThatNobodyWaitsFor) {
  Make(2, true);
  OpenAll(1);
  Rank& r = *ranks_[0];
  std::vector<int64_t> values(10);
  Work work = r.AllReduce(values, r.clock.Now() + std::chrono::milliseconds(20));
  while (!work.IsDone()) std::this_thread::yield();
  EXPECT_EQ(work.Wait().code(), StatusCode::kTimeout);
  CloseAll();
}

TEST_P(EngineTest, LossIsToldOnceAndNamesThePeer) {
  Make(3, true);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<MemberId> lost;
  ranks_[0]->engine.SetOnPeerLost([&](const MemberProcess& peer, const Status& why) {
    EXPECT_EQ(why.code(), StatusCode::kPeerLost);
    std::lock_guard lock(mutex);
    lost.push_back(peer.member);
    changed.notify_all();
  });
  OpenAll(1);
  std::vector<int64_t> values(10);
  Work work = ranks_[0]->AllReduce(values);
  ranks_[2]->Close();
  ranks_[2].reset();
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !lost.empty(); });
    EXPECT_EQ(lost, std::vector<MemberId>{2});
  }
  ASSERT_TRUE(work.IsDone()) << "works end before the loss is told";
  EXPECT_EQ(work.Wait().code(), StatusCode::kPeerLost);
  EXPECT_EQ(work.Wait().suspected_rank(), 2);
  // A group with the dead peer can't be opened.
  GroupSpec spec;
  spec.size = 3;
  spec.generation = 2;
  for (const auto& transport : ranks_[0]->transports) spec.transports.push_back(transport.get());
  const Status status = ranks_[0]->engine.OpenGroup(spec).status();
  EXPECT_EQ(status.code(), StatusCode::kPeerLost);
  EXPECT_EQ(status.suspected_rank(), 2);
  ranks_[0]->Close();
  ranks_[1]->Close();
}

TEST_P(EngineTest, DetachEndsGroupsOfTheTransport) {
  Make(2, true);
  OpenAll(1);
  Rank& r = *ranks_[0];
  std::vector<int64_t> values(10);
  Work work = r.AllReduce(values);
  r.engine.Detach(*r.transports[1]);
  ASSERT_TRUE(work.IsDone());
  EXPECT_EQ(work.Wait().code(), StatusCode::kAborted);
  CloseAll();
}

TEST_P(EngineTest, GenerationsChangeUnderLoadFromManyThreads) {
  Make(3, true);
  OnAllRanks([](int rank, Rank& r) {
    SeededRandom random(static_cast<uint64_t>(rank) + 1);
    for (Generation generation = 1; generation <= 15; ++generation) {
      r.Open(rank, generation);
      std::vector<std::vector<int64_t>> values(3, std::vector<int64_t>(20000, 1));
      std::vector<Work> works;
      for (auto& v : values) works.push_back(r.AllReduce(v));
      std::thread aborter([&] {
        for (uint64_t i = random.Below(100); i > 0; --i) std::this_thread::yield();
        r.engine.Abort(r.group, Aborted("next"));
      });
      for (Work& work : works) {
        const Status status = work.Wait();
        EXPECT_TRUE(status.ok() || status == Aborted("next")) << status;
      }
      for (auto& v : values) v.assign(v.size(), -1);  // the memory is ours again
      aborter.join();
      r.Close();
      for (const auto& v : values) EXPECT_EQ(v, std::vector<int64_t>(v.size(), -1));
    }
    r.Open(rank, 100);
    std::vector<int64_t> values(50000, rank);
    EXPECT_TRUE(r.AllReduce(values).Wait().ok());
    EXPECT_EQ(values, std::vector<int64_t>(50000, 3));
  });
  CloseAll();
}

}  // namespace
}  // namespace closeranks::collectives
