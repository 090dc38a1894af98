#include "elastic/checkpoint/checkpoint_fixture.h"

#include <utility>

namespace closeranks::elastic {
namespace {

constexpr size_t kTensors = 5;

}  // namespace

void StepState::Set(StepNumber step) {
  bytes_.clear();
  SeededRandom random(step);
  for (size_t i = 0; i < kTensors; ++i) {
    std::string& bytes = bytes_.emplace_back((i + 1) * 8, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Next());
  }
}

std::vector<Piece> StepState::Pieces() {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < kTensors; ++i) {
    pieces.push_back({"tensor." + std::to_string(i),
                      ElementType::kFloat32,
                      {static_cast<int64_t>(i) + 1, 2},
                      bytes_[i]});
  }
  pieces.push_back(OpaquePiece("opaque", bytes_[0]));
  return pieces;
}

Result<std::function<void()>> StepState::PrepareLoad(std::span<const Piece>) {
  return Internal("nobody loads it");
}

bool IsStateOfItsStep(const StoredState& stored) {
  StepState expected(stored.manifest.step);
  const std::vector<Piece> pieces = expected.Pieces();
  if (stored.pieces.size() != pieces.size()) return false;
  for (const Piece& piece : pieces) {
    auto found = FindPiece(stored.pieces, piece);
    if (!found.ok() || (*found)->bytes != piece.bytes) return false;
  }
  return true;
}

bool PendingWork::DoOne() {
  if (tasks_.empty()) return false;
  std::function<void()> task = std::move(tasks_.front());
  tasks_.pop_front();
  task();
  return true;
}

void PendingWork::DoAll() {
  while (DoOne()) {
  }
}

CheckpointWorld::CheckpointWorld(Files& files, std::string folder, Checkpointer::Options options)
    : store_(files, std::move(folder)), options_(std::move(options)) {}

CheckpointWorld::Rank CheckpointWorld::MakeRank() {
  Rank rank;
  rank.work = std::make_unique<PendingWork>();
  rank.checkpointer = std::make_unique<Checkpointer>(store_, *rank.work, *clock_, options_);
  rank.checkpointer->SetLineage(lineage_);
  return rank;
}

Status CheckpointWorld::Begin(int ranks) {
  lineage_ = {};
  const Rank rank = MakeRank();
  while (!rank.checkpointer->AwaitBeginning()) continue;
  const auto beginning = rank.checkpointer->beginning();
  RETURN_IF_ERROR(beginning->status());
  lineage_ = (*beginning)->lineage;
  step_ = lineage_.step;
  generation_ = 0;
  ranks_.clear();
  Change(ranks, ranks);
  return OkStatus();
}

void CheckpointWorld::Change(int ranks, int joiners) {
  ++generation_;
  std::vector<Rank> old = std::move(ranks_);
  ranks_.clear();
  for (int i = 0; i < joiners; ++i) ranks_.push_back(MakeRank());
  // Those who are lost are the first.
  const size_t staying = static_cast<size_t>(ranks - joiners);
  for (size_t i = old.size() - staying; i < old.size(); ++i) ranks_.push_back(std::move(old[i]));
  for (int i = 0; i < ranks; ++i) {
    ranks_[static_cast<size_t>(i)].checkpointer->OnWorld(generation_, i, ranks);
  }
}

Status CheckpointWorld::Exchange(bool at_end) {
  CheckpointWord sum;
  for (Rank& rank : ranks_) {
    CheckpointWord word = rank.checkpointer->Word(step_, at_end);
    sum.wanted += word.wanted;
    sum.written += word.written;
    sum.failed += word.failed;
    sum.committed += word.committed;
    sum.superseded += word.superseded;
  }
  state_.Set(step_);
  for (Rank& rank : ranks_) RETURN_IF_ERROR(rank.checkpointer->Heard(sum, step_, 1, &state_));
  // What was copied doesn't change any more.
  state_.Set(step_ + 1000000);
  return OkStatus();
}

Status CheckpointWorld::Step() {
  ++step_;
  return Exchange(false);
}

Status CheckpointWorld::Finish() {
  do {
    DoWork();
    RETURN_IF_ERROR(Exchange(true));
  } while (busy());
  return OkStatus();
}

void CheckpointWorld::DoWork() {
  for (Rank& rank : ranks_) rank.work->DoAll();
}

}  // namespace closeranks::elastic
