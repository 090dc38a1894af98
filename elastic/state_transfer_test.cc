// Ranks in threads; what they gather passes through the test's hands.
#include "elastic/state_transfer.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "elastic/checkpoint/safetensors.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace closeranks::elastic {
namespace {

using rendezvous::WorkerState;

constexpr WorkerState kStep5 = {5, 1, 500};
constexpr size_t kStateBytes = 1600;
// With what stands before it the state takes a few more than 8 chunks of so many bytes would.
constexpr size_t kLeastChunkBytes = 10;

// Where the ranks of one world meet.
class Meeting {
 public:
  // Changes what `from` gives to `to` in its how-manieth gathering.
  using Tamper = std::function<void(uint64_t sequence, int from, int to, char* bytes, size_t size)>;

  Meeting(int size, Tamper tamper) : tamper_(std::move(tamper)), given_(size) {}

  size_t size() const { return given_.size(); }
  // A rank comes no more: nobody waits for it.
  void Leave() {
    std::lock_guard lock(mutex_);
    somebody_left_ = true;
    changed_.notify_all();
  }
  // What `senders` give; who neither gives nor takes has null. False when somebody has left.
  bool Gather(uint64_t sequence, int rank, const void* input, void* output, size_t bytes,
              std::span<const int> senders) {
    std::unique_lock lock(mutex_);
    if (input != nullptr) given_[rank].assign(static_cast<const char*>(input), bytes);
    ++arrived_;
    changed_.notify_all();
    const size_t all = given_.size() * (sequence + 1);
    changed_.wait(lock, [&] { return somebody_left_ || arrived_ >= all; });
    if (arrived_ < all) return false;
    char* to = static_cast<char*>(output);
    for (size_t i = 0; to != nullptr && i < senders.size(); ++i, to += bytes) {
      std::memcpy(to, given_[senders[i]].data(), bytes);
      tamper_(sequence, senders[i], rank, to, bytes);
    }
    // Nobody gives anew before everyone has taken.
    ++taken_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return somebody_left_ || taken_ >= all; });
    return taken_ >= all;
  }

 private:
  const Tamper tamper_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> given_;
  size_t arrived_ = 0;
  size_t taken_ = 0;
  bool somebody_left_ = false;
};

class MeetingBackend final : public collectives::Backend {
 public:
  MeetingBackend(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  std::string_view name() const override { return "meeting"; }
  Work AllGather(const collectives::Ticket& ticket, const void* input, void* output, size_t count,
                 DataType type) override {
    std::vector<int> all(meeting_.size());
    std::iota(all.begin(), all.end(), 0);
    return Gather(ticket, input, output, count, type, all, all);
  }
  Work Gather(const collectives::Ticket& ticket, const void* input, void* output, size_t count,
              DataType type, std::span<const int> senders,
              std::span<const int> receivers) override {
    for (int receiver : receivers) CHECK(receiver != rank_ || output != nullptr);
    const bool all_came =
        meeting_.Gather(ticket.sequence, rank_, input, output, count * SizeOf(type), senders);
    return Work::Ended(all_came ? OkStatus() : Aborted("a rank has left"));
  }
  Work AllReduce(const collectives::Ticket&, const void*, void*, size_t, DataType,
                 Reduction) override {
    return Unused();
  }
  Work AllReduceShards(const collectives::Ticket&, std::span<const ShardContribution>,
                       std::span<const int>, void*, size_t, DataType) override {
    return Unused();
  }
  Work Broadcast(const collectives::Ticket&, void*, size_t, DataType, int) override {
    return Unused();
  }
  Work Barrier(const collectives::Ticket&) override { return Unused(); }
  void Abort(Status) override {}
  Status health() const override { return OkStatus(); }

 private:
  static Work Unused() { return Work::Ended(Internal("a transfer gathers, and nothing else")); }

  Meeting& meeting_;
  const int rank_;
};

// A state of one piece.
class TextOwner final : public StateOwner {
 public:
  explicit TextOwner(char first) {
    for (size_t i = 0; i < kStateBytes; ++i) text_ += static_cast<char>(first + i % 97);
  }
  std::vector<Piece> Pieces() override {
    ++copies;
    return {OpaquePiece("text", text_)};
  }
  Result<std::function<void()>> PrepareLoad(std::span<const Piece>) override {
    return Internal("nothing is loaded here");
  }

  int copies = 0;

 private:
  std::string text_;
};

struct Member {
  explicit Member(char first = 'a') : owner(first) {}

  TextOwner owner;
  StateTransfer transfer{kLeastChunkBytes};
  Status status;
  int chunks = 0;  // in this world
  bool was_behind = false;
};

// The state as a source has it.
std::string Whole() { return EncodeSafetensors(TextOwner('a').Pieces(), {}); }

const Meeting::Tamper kNothing = [](uint64_t, int, int, char*, size_t) {};

// A world of `members`, by rank, in which `listeners` need the state of `resume`: `most_chunks` are
// gathered, or as many as it takes.
void RunWorld(const std::vector<Member*>& members, std::vector<bool> listeners,
              const WorkerState& resume, const Meeting::Tamper& tamper = kNothing,
              int most_chunks = 1000) {
  Meeting meeting(static_cast<int>(members.size()), tamper);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < members.size(); ++rank) {
    threads.emplace_back([&, rank] {
      SystemClock clock;
      const int self = static_cast<int>(rank);
      Communicator communicator(self, static_cast<int>(members.size()), 1,
                                std::make_unique<MeetingBackend>(meeting, self), clock, {});
      Member& member = *members[rank];
      StateTransfer& transfer = member.transfer;
      member.status =
          transfer.Begin(communicator, listeners,
                         {resume, member.owner, {}, false, false, member.was_behind}, false);
      member.chunks = 0;
      while (member.status.ok() && !transfer.confirmed() && member.chunks < most_chunks) {
        transfer.StartChunk(communicator);
        member.status = transfer.FinishChunk();
        ++member.chunks;
        if (member.status.ok() && transfer.listens() && transfer.received()) {
          member.status = transfer.CheckReceived();
          transfer.Loaded();
        }
      }
      if (!member.status.ok()) meeting.Leave();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Flips a bit of the last byte that `from` gives to `to`, where `when` says.
Meeting::Tamper Flip(int from, int to, std::function<bool(uint64_t sequence)> when) {
  return [=](uint64_t sequence, int gives, int takes, char* bytes, size_t size) {
    if (gives == from && takes == to && when(sequence)) bytes[size - 1] ^= 4;
  };
}

// The sequence of the stripes of a chunk: first come the exchange that finds nothing to go on from,
// and the one after the copy; before each chunk, its words.
constexpr uint64_t StripesOf(int chunk) { return 3 + 2 * static_cast<uint64_t>(chunk); }

int ChunksUndisturbed() {
  Member source, joiner;
  RunWorld({&source, &joiner}, {false, true}, kStep5);
  return joiner.chunks;
}

// Its gathering of stripes lasts until it is aborted, as when the others never come to it.
class HangingBackend final : public collectives::Backend {
 public:
  class Hanging final : public Work::State {
   public:
    explicit Hanging(const HangingBackend& backend) : backend_(backend) {}
    Status Wait() override {
      CHECK(backend_.was_aborted) << "it would wait for ever";
      return Aborted("aborted");
    }
    bool IsDone() const override { return backend_.was_aborted; }

   private:
    const HangingBackend& backend_;
  };

  std::string_view name() const override { return "hanging"; }
  // Both ranks say the same, as of a begun transfer from this one.
  Work AllGather(const collectives::Ticket&, const void* input, void* output, size_t count,
                 DataType) override {
    for (int rank = 0; rank < 2; ++rank) {
      std::memcpy(static_cast<char*>(output) + rank * count, input, count);
    }
    return {};
  }
  Work Gather(const collectives::Ticket&, const void*, void*, size_t, DataType,
              std::span<const int>, std::span<const int>) override {
    return Work(std::make_shared<Hanging>(*this));
  }
  Work AllReduce(const collectives::Ticket&, const void*, void*, size_t, DataType,
                 Reduction) override {
    return {};
  }
  Work AllReduceShards(const collectives::Ticket&, std::span<const ShardContribution>,
                       std::span<const int>, void*, size_t, DataType) override {
    return {};
  }
  Work Broadcast(const collectives::Ticket&, void*, size_t, DataType, int) override { return {}; }
  Work Barrier(const collectives::Ticket&) override { return {}; }
  void Abort(Status) override { was_aborted = true; }
  Status health() const override { return OkStatus(); }

  bool was_aborted = false;
};

// The program's own code throws: nothing may write into the transfer's memory after that.
TEST(StateTransfer, WhoEndsWhileAChunkIsUnderWayAbortsIt) {
  SystemClock clock;
  auto backend = std::make_unique<HangingBackend>();
  const HangingBackend& hanging = *backend;
  Communicator communicator(0, 2, 1, std::move(backend), clock, {});
  TextOwner owner('a');
  {
    StateTransfer transfer(kLeastChunkBytes);
    ASSERT_TRUE(transfer.Begin(communicator, {false, true}, {kStep5, owner, {}}, true).ok());
    transfer.StartChunk(communicator);
    EXPECT_FALSE(hanging.was_aborted);
  }
  EXPECT_TRUE(hanging.was_aborted);
}

TEST(StateTransfer, TheStateComesWholeFromAllItsSources) {
  Member first, joiner, second, other;
  std::vector<size_t> bytes_of(4);
  const Meeting::Tamper count = [&](uint64_t sequence, int from, int to, char*, size_t size) {
    if (sequence >= StripesOf(0) && sequence % 2 == 1 && to == 1) bytes_of[from] += size;
  };
  RunWorld({&first, &joiner, &second, &other}, {false, true, false, true}, kStep5, count);
  for (Member* member : {&first, &joiner, &second, &other}) {
    EXPECT_TRUE(member->status.ok()) << member->status;
    EXPECT_TRUE(member->transfer.confirmed());
  }
  for (Member* member : {&joiner, &other}) {
    EXPECT_TRUE(member->transfer.received());
    EXPECT_EQ(member->transfer.bytes(), Whole());
    EXPECT_EQ(member->transfer.state(), kStep5);
  }
  EXPECT_EQ(bytes_of[0], bytes_of[2]);
  EXPECT_GT(bytes_of[0], 0u);
  EXPECT_EQ(bytes_of[3], 0u) << "it has nothing to send";
}

TEST(StateTransfer, AStripeThatArrivesChangedIsFetchedFromTheOthers) {
  const int chunks = ChunksUndisturbed();
  for (int chunk = 0; chunk < chunks - 1; ++chunk) {
    Member first, second, joiner, other;
    RunWorld({&first, &second, &joiner, &other}, {false, false, true, true}, kStep5,
             Flip(1, 2, [&](uint64_t sequence) { return sequence == StripesOf(chunk); }));
    for (Member* member : {&first, &second, &joiner, &other}) {
      EXPECT_TRUE(member->status.ok()) << member->status;
      EXPECT_EQ(member->chunks, chunks + 2) << "that one again, and the one after it";
    }
    EXPECT_EQ(joiner.transfer.bytes(), Whole()) << "chunk " << chunk;
    EXPECT_EQ(other.transfer.bytes(), Whole()) << "chunk " << chunk;
  }
}

TEST(StateTransfer, WhoseStripesAlwaysArriveChangedSendsNoMore) {
  Member first, second, joiner;
  RunWorld(
      {&first, &second, &joiner}, {false, false, true}, kStep5,
      Flip(1, 2, [](uint64_t sequence) { return sequence >= StripesOf(0) && sequence % 2 == 1; }));
  EXPECT_TRUE(joiner.status.ok()) << joiner.status;
  EXPECT_EQ(joiner.transfer.bytes(), Whole());
  EXPECT_EQ(joiner.chunks, ChunksUndisturbed() + 2);
}

TEST(StateTransfer, TheOnlySourceIsAskedAgainAndWhoReceivesEndsIfThatDoesntMendIt) {
  Member source, joiner;
  RunWorld({&source, &joiner}, {false, true}, kStep5,
           Flip(0, 1, [](uint64_t sequence) { return sequence == StripesOf(3); }));
  EXPECT_TRUE(joiner.status.ok()) << joiner.status;
  EXPECT_EQ(joiner.transfer.bytes(), Whole());

  Member bad, other;
  RunWorld({&bad, &other}, {false, true}, kStep5, Flip(0, 1, [](uint64_t sequence) {
             return sequence >= StripesOf(3) && sequence % 2 == 1;
           }));
  EXPECT_EQ(other.status.code(), StatusCode::kInternal);
  EXPECT_EQ(other.status.message().find("what rank 0 sent of the state came 3 times"), 0u)
      << other.status;
  EXPECT_EQ(bad.status.code(), StatusCode::kAborted) << "it isn't known whose memory changes bytes";
}

TEST(StateTransfer, WhoHasAnotherStateThanTheLowestSendsNothing) {
  Member first, strange('b'), joiner;
  RunWorld({&first, &strange, &joiner}, {false, false, true}, kStep5);
  EXPECT_TRUE(joiner.status.ok()) << joiner.status;
  for (const Member* member : {&first, &strange, &joiner}) {
    EXPECT_TRUE(member->transfer.sources_differ());
  }
  EXPECT_EQ(joiner.transfer.bytes(), Whole());
}

TEST(StateTransfer, WhoHasJustCaughtUpMayHaveAnotherState) {
  for (int behind : {0, 1}) {
    Member first(behind == 0 ? 'b' : 'a'), second(behind == 1 ? 'b' : 'a'), joiner;
    (behind == 0 ? first : second).was_behind = true;
    RunWorld({&first, &second, &joiner}, {false, false, true}, kStep5);
    EXPECT_TRUE(joiner.status.ok()) << joiner.status;
    EXPECT_FALSE(joiner.transfer.sources_differ());
    EXPECT_EQ(joiner.transfer.bytes(), Whole());
    const std::vector<bool> not_compared = {behind == 0, behind == 1, true};
    EXPECT_EQ(joiner.transfer.not_compared(), not_compared);
  }
}

TEST(StateTransfer, ASourceThatIsLostDoesntStartItOver) {
  const int chunks = ChunksUndisturbed();
  for (int before = 1; before <= chunks; ++before) {
    Member first, second, joiner;
    RunWorld({&first, &second, &joiner}, {false, false, true}, kStep5, kNothing, before);
    // The world after it has neither the first nor its rank.
    RunWorld({&second, &joiner}, {false, true}, kStep5);
    EXPECT_TRUE(joiner.status.ok()) << joiner.status;
    EXPECT_FALSE(joiner.transfer.is_new());
    EXPECT_EQ(joiner.chunks, std::max(chunks - before, 1)) << "after " << before;
    EXPECT_EQ(second.owner.copies, 1);
    EXPECT_EQ(joiner.transfer.bytes(), Whole());
  }
}

TEST(StateTransfer, ALossRightAfterAStripeThatArrivedChangedGoesOnFromThatChunk) {
  Member first, second, joiner;
  RunWorld({&first, &second, &joiner}, {false, false, true}, kStep5,
           Flip(1, 2, [](uint64_t sequence) { return sequence == StripesOf(3); }), 4);
  RunWorld({&second, &joiner}, {false, true}, kStep5);
  EXPECT_TRUE(joiner.status.ok()) << joiner.status;
  EXPECT_FALSE(joiner.transfer.is_new());
  EXPECT_EQ(joiner.transfer.bytes(), Whole());
}

TEST(StateTransfer, WhoWasListedLaterIsNoSourceOfWhatItDoesntHave) {
  Member first, joiner, late;
  RunWorld({&first, &joiner}, {false, true}, kStep5, kNothing, 4);
  // It holds the step now, but not that copy.
  RunWorld({&late, &first, &joiner}, {false, false, true}, kStep5);
  EXPECT_TRUE(joiner.status.ok()) << joiner.status;
  EXPECT_FALSE(joiner.transfer.is_new());
  EXPECT_EQ(joiner.transfer.bytes(), Whole());
  EXPECT_EQ(late.owner.copies, 0);
}

TEST(StateTransfer, WhatWasHeardIsAppliedUpToWhereTheWorldResumesFrom) {
  Member source, joiner;
  RunWorld({&source, &joiner}, {false, true}, kStep5, kNothing, 2);
  const StepSamples samples(3);
  joiner.transfer.Hear(6, 1, samples, {});
  const WorkerState step6 = joiner.transfer.heard();
  joiner.transfer.Hear(7, 1, samples, {});
  EXPECT_EQ(joiner.transfer.heard().applied, 7u);
  // Nobody else has applied step 7.
  RunWorld({&source, &joiner}, {false, true}, step6, kNothing, 1);
  EXPECT_FALSE(joiner.transfer.is_new());
  EXPECT_EQ(joiner.transfer.heard(), step6);
  EXPECT_EQ(joiner.transfer.steps().size(), 1u);
}

TEST(StateTransfer, WhoMissedAStepGetsANewerCopy) {
  Member source, joiner;
  RunWorld({&source, &joiner}, {false, true}, kStep5, kNothing, 2);
  const WorkerState step6 = {6, 1, 600};
  RunWorld({&source, &joiner}, {false, true}, step6);
  EXPECT_TRUE(joiner.transfer.is_new());
  EXPECT_EQ(joiner.transfer.state(), step6);
  EXPECT_EQ(joiner.transfer.bytes(), Whole());
  EXPECT_EQ(source.owner.copies, 2);
}

}  // namespace
}  // namespace closeranks::elastic
