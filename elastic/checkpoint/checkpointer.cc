#include "elastic/checkpoint/checkpointer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "glog/logging.h"

namespace closeranks::elastic {
namespace {

// A piece of the state as it was.
struct Copy {
  Piece piece;  // its bytes are those below
  std::string bytes;
};

std::vector<Copy> CopyShare(std::span<const Piece> pieces, std::span<const int> writers, int rank) {
  std::vector<Copy> share;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (writers[i] == rank) share.push_back({pieces[i], std::string(pieces[i].bytes)});
  }
  return share;
}

std::vector<Piece> Pieces(const std::vector<Copy>& share) {
  std::vector<Piece> pieces;
  for (const Copy& copy : share) {
    pieces.push_back(copy.piece);
    pieces.back().bytes = copy.bytes;
  }
  return pieces;
}

std::string InSeconds(Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

CheckpointName NameOf(const Manifest& manifest) {
  return {manifest.lineage.number, manifest.step, manifest.generation};
}

void WarnOf(const Manifest& manifest, const Status& why) {
  LOG(WARNING) << "the checkpoint of step " << manifest.step
               << " is given up, and the training goes on without it: " << why.message();
}

}  // namespace

std::vector<int> DivideOverRanks(std::span<const Piece> pieces, int ranks) {
  auto weight = [&](size_t i) { return pieces[i].IsOpaque() ? 0 : pieces[i].bytes.size(); };
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return weight(a) > weight(b); });
  std::vector<size_t> load(static_cast<size_t>(ranks), 0);
  std::vector<int> writers(pieces.size());
  for (size_t i : order) {
    auto least = std::min_element(load.begin(), load.end());
    *least += weight(i);
    writers[i] = static_cast<int>(least - load.begin());
  }
  return writers;
}

Checkpointer::Checkpointer(CheckpointStore store, net::Background& background, const Clock& clock,
                           Options options)
    : store_(std::move(store)),
      background_(background),
      clock_(clock),
      options_(std::move(options)) {}

bool Checkpointer::AwaitBeginning() {
  if (lineage_.number != 0) return true;
  // In between another rank may have begun a later lineage. What still reads comes first in the
  // background, so this one's is the newest.
  if (reading_ != nullptr && generation_ > reading_->generation + 1) reading_.reset();
  if (reading_ == nullptr) {
    reading_ = std::make_shared<Reading>();
    reading_->begun = clock_.Now();
    background_.Start(
        [reading = reading_, store = store_, resume = options_.resume, run = options_.run] {
          reading->result = ChooseBeginning(store, resume, run);
          reading->is_through = true;
        });
  }
  reading_->generation = generation_;
  return AwaitReading();
}

Result<bool> Checkpointer::ForgetBeginning() {
  if (reading_ == nullptr) return true;
  if (!AwaitReading()) return false;
  const Status status = reading_->result->status();
  if (status.code() == StatusCode::kTimeout) return status;
  reading_.reset();
  return true;
}

bool Checkpointer::AwaitReading() {
  if (!reading_->is_through) (void)background_.AwaitIdle();
  if (reading_->is_through) return true;
  if (clock_.Now() - reading_->begun < options_.timeout) return false;
  // What the disk still does for the one that hangs is nobody's any more.
  reading_ = std::make_shared<Reading>();
  reading_->result = Timeout("reading the checkpoint in " + store_.folder() + " took more than " +
                             InSeconds(options_.timeout) +
                             "; does the disk hang, or is --checkpoint-timeout too short?");
  reading_->is_through = true;
  return true;
}

std::shared_ptr<const Result<Beginning>> Checkpointer::beginning() const {
  return {reading_, &*reading_->result};
}

void Checkpointer::SetLineage(const Lineage& lineage) {
  lineage_ = lineage;
  reading_.reset();
}

void Checkpointer::OnWorld(Generation generation, int rank, int size) {
  wished_ |= due_ || attempt_ != nullptr;
  due_ = false;
  attempt_.reset();
  generation_ = generation;
  rank_ = rank;
  size_ = size;
}

CheckpointWord Checkpointer::Word(StepNumber step, bool at_end) {
  if (options_.asked && options_.asked()) wished_ = true;
  CheckpointWord word;
  const bool is_periodic = options_.every > 0 && step % options_.every == 0;
  // At the end no step comes any more, so whoever asked meant this one, and once is enough.
  const bool is_begun = attempt_ != nullptr && attempt_->manifest.step == step;
  const bool is_wanted = at_end ? !is_begun && settled_ != step : wished_ || is_periodic;
  word.wanted = is_wanted ? 1 : 0;
  if (attempt_ == nullptr) return word;
  GiveUpWhatTakesTooLong();
  word.written = attempt_->written ? 1 : 0;
  word.failed = attempt_->failed ? 1 : 0;
  word.committed = attempt_->committed ? 1 : 0;
  word.superseded = attempt_->superseded ? 1 : 0;
  return word;
}

Status Checkpointer::Heard(const CheckpointWord& sum, StepNumber step, int epoch,
                           StateOwner* state) {
  if (attempt_ != nullptr) {
    if (sum.superseded > 0) {
      superseded_ = true;
      return StaleGeneration("another start of this run has taken over its checkpoints in " +
                             store_.folder() + ", so what this one trains is void");
    }
    if (sum.committed > 0 || sum.failed > 0) {
      settled_ = attempt_->manifest.step;
      attempt_.reset();
    } else if (sum.written == size_ && rank_ == 0 && !attempt_->commit_begun) {
      StartCommit();
    }
  }
  if (sum.wanted > 0) {
    due_ = true;
    wished_ = false;
  }
  if (due_ && attempt_ == nullptr && state != nullptr) Start(step, epoch, *state);
  return OkStatus();
}

void Checkpointer::Start(StepNumber step, int epoch, StateOwner& state) {
  due_ = false;
  attempt_ = std::make_shared<Attempt>();
  Manifest& manifest = attempt_->manifest;
  manifest.lineage = lineage_;
  manifest.step = step;
  manifest.epoch = epoch;
  manifest.generation = generation_;
  manifest.world = size_;
  manifest.run = options_.run;
  if (hanging_ != nullptr && hanging_->is_at_work) {
    // It would wait behind that, and its copy with it.
    attempt_->failed = true;
    WarnOf(manifest, Timeout("the disk still holds up the one of step " +
                             std::to_string(hanging_->manifest.step)));
    return;
  }
  hanging_.reset();
  const std::vector<Piece> pieces = state.Pieces();
  for (const Piece& piece : pieces) attempt_->names.push_back(piece.name);
  auto share = std::make_shared<const std::vector<Copy>>(
      CopyShare(pieces, DivideOverRanks(pieces, size_), rank_));
  StartWork([store = store_, share, rank = rank_](Attempt& attempt) {
    const Manifest& manifest = attempt.manifest;
    Status written = store.WriteShard(NameOf(manifest), rank, manifest.world, Pieces(*share));
    if (!written.ok()) WarnOf(manifest, written);
    (written.ok() ? attempt.written : attempt.failed) = true;
  });
}

void Checkpointer::StartWork(std::function<void(Attempt&)> work) {
  attempt_->work_begun = clock_.Now();
  attempt_->is_at_work = true;
  background_.Start([attempt = attempt_, work = std::move(work)] {
    work(*attempt);
    attempt->is_at_work = false;
  });
}

void Checkpointer::GiveUpWhatTakesTooLong() {
  if (!attempt_->is_at_work || attempt_->failed) return;
  if (clock_.Now() - attempt_->work_begun < options_.timeout) return;
  attempt_->failed = true;
  hanging_ = attempt_;
  WarnOf(attempt_->manifest,
         Timeout("the disk has taken more than " + InSeconds(options_.timeout) +
                 " for it; does it hang, or is --checkpoint-timeout too short?"));
}

void Checkpointer::StartCommit() {
  attempt_->commit_begun = true;
  StartWork([store = store_, keep = options_.keep, now = options_.seconds_since_1970,
             sync_records = sync_records_](Attempt& attempt) {
    Manifest manifest = attempt.manifest;
    if (now) manifest.written_at = now();
    Status committed = sync_records ? sync_records() : OkStatus();
    if (committed.ok()) committed = store.Commit(manifest, attempt.names);
    if (committed.code() == StatusCode::kStaleGeneration) {
      LOG(ERROR) << committed.message();
      attempt.superseded = true;
    } else if (!committed.ok()) {
      WarnOf(manifest, committed);
      attempt.failed = true;
    } else {
      Status removed = store.RemoveOld(keep);
      LOG_IF(WARNING, !removed.ok()) << "an old checkpoint stays: " << removed.message();
      attempt.committed = true;
    }
  });
}

}  // namespace closeranks::elastic
