#include "elastic/state_transfer.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "elastic/checkpoint/safetensors.h"
#include "glog/logging.h"
#include "xxhash.h"

namespace closeranks::elastic {
namespace {

constexpr uint64_t kMostChunks = 8;
// The only source that is left is asked so often.
constexpr int kMostFailures = 3;
// What the last stripe of the last chunk may reach beyond the state: a byte for each source.
constexpr size_t kSlackBytes = 64 << 10;
// What a copy and its checksum take turns on.
constexpr size_t kCopyBytes = 64 << 10;

// Copies while it sums: a second pass over all of it would be from memory again.
class SummedCopy {
 public:
  explicit SummedCopy(char* to) : to_(to), sum_(XXH3_createState(), XXH3_freeState) {
    CHECK(sum_ != nullptr && XXH3_64bits_reset(sum_.get()) == XXH_OK);
  }
  void Add(std::string_view bytes) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min(kCopyBytes, bytes.size()))) {
      const std::string_view some = bytes.substr(0, kCopyBytes);
      std::memcpy(to_, some.data(), some.size());
      XXH3_64bits_update(sum_.get(), to_, some.size());
      to_ += some.size();
    }
  }
  uint64_t sum() const { return XXH3_64bits_digest(sum_.get()); }

 private:
  char* to_;
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> sum_;
};

}  // namespace

StateTransfer::~StateTransfer() {
  if (gathers_it_ == nullptr) return;
  gathers_it_->Abort(Aborted("a rank ended in the middle of a transfer"));
  (void)FinishChunk();
}

Status StateTransfer::Begin(Communicator& communicator, std::vector<bool> listeners,
                            const Source& source, bool anew) {
  CHECK(gathers_it_ == nullptr);
  active_ = true;
  confirmed_ = false;
  listeners_ = std::move(listeners);
  listens_ = listeners_[static_cast<size_t>(communicator.rank())];
  ASSIGN_OR_RETURN(std::vector<Word> words, Exchange(communicator, source));
  is_new_ = anew || !CanGoOn(words);
  if (is_new_) {
    CopyState(source);
    ASSIGN_OR_RETURN(words, Exchange(communicator, source));
  }
  not_compared_ = listeners_;
  for (size_t rank = 0; rank < words.size(); ++rank) {
    if (words[rank].was_behind != 0) not_compared_[rank] = true;
  }
  // Where it goes on, the listeners know which copy it is.
  const std::vector<bool>& among = is_new_ ? not_compared_ : listeners_;
  const auto known = std::find(among.begin(), among.end(), !is_new_);
  CHECK(known != among.end());
  head_ = words[static_cast<size_t>(known - among.begin())].head;
  done_bytes_ = head_.bytes;
  sources_.clear();
  at_once_ = false;
  sources_differ_ = false;
  bool source_stays = false;
  for (size_t rank = 0; rank < words.size(); ++rank) {
    const Word& word = words[rank];
    at_once_ |= word.at_once != 0;
    if (listeners_[rank]) {
      done_bytes_ = std::min(done_bytes_, word.done_bytes);
    } else if (word.head == head_) {
      sources_.push_back(static_cast<int>(rank));
      source_stays |= word.leaves == 0;
    } else {
      sources_differ_ |= is_new_ && !not_compared_[rank];
    }
  }
  at_once_ |= !source_stays;
  last_begin_ = done_bytes_;
  bad_source_ = -1;
  failures_ = 0;
  if (listens_) {
    DropStepsAfter(source.state);
    if (bytes_.size() == 0) bytes_ = PageBuffer(head_.bytes + kSlackBytes);
    is_whole_ = false;
  } else if (words[static_cast<size_t>(communicator.rank())].head != head_) {
    DropCopy();
  }
  return OkStatus();
}

Result<std::vector<StateTransfer::Word>> StateTransfer::Exchange(Communicator& communicator,
                                                                 const Source& source) const {
  static_assert(std::is_trivially_copyable_v<Word>);
  Word mine;
  if (listens_ || is_whole_) mine.head = head_;
  mine.done_bytes = bad_source_ < 0 ? done_bytes_ : last_begin_;
  mine.can_go_on = head_.state == source.state ||
                   std::any_of(steps_.begin(), steps_.end(),
                               [&](const HeardStep& heard) { return heard.state == source.state; });
  mine.at_once = source.at_once ? 1 : 0;
  mine.leaves = source.leaves ? 1 : 0;
  mine.was_behind = source.was_behind ? 1 : 0;
  std::vector<Word> words(static_cast<size_t>(communicator.size()));
  RETURN_IF_ERROR(
      communicator.AllGather(&mine, words.data(), sizeof(Word), DataType::kUint8).Wait());
  return words;
}

bool StateTransfer::CanGoOn(std::span<const Word> words) const {
  const auto first = std::find(listeners_.begin(), listeners_.end(), true);
  const Head& head = words[static_cast<size_t>(first - listeners_.begin())].head;
  if (head.bytes == 0) return false;
  bool is_there = false;
  for (size_t rank = 0; rank < words.size(); ++rank) {
    const Word& word = words[rank];
    if (!listeners_[rank]) {
      is_there |= word.head == head;
    } else if (word.done_bytes == 0 || word.can_go_on == 0 || word.head != head) {
      return false;  // of what nothing was sent of, a newer copy is as good
    }
  }
  return is_there;
}

void StateTransfer::CopyState(const Source& source) {
  steps_.clear();
  done_bytes_ = 0;
  DropCopy();
  head_ = {source.state, source.lineage};
  is_whole_ = !listens_;
  if (listens_) return;
  const std::vector<Piece> pieces = source.owner.Pieces();
  const std::string head = SafetensorsHead(pieces, {});
  head_.bytes = head.size();
  for (const Piece& piece : pieces) head_.bytes += piece.bytes.size();
  bytes_ = PageBuffer(head_.bytes + kSlackBytes);
  SummedCopy copy(bytes_.data());
  copy.Add(head);
  for (const Piece& piece : pieces) copy.Add(piece.bytes);
  head_.checksum = copy.sum();
}

// Its memory as well.
void StateTransfer::DropCopy() {
  is_whole_ = false;
  const PageBuffer dropped = std::move(bytes_);
}

void StateTransfer::DropStepsAfter(const rendezvous::WorkerState& state) {
  while (heard() != state && !steps_.empty()) steps_.pop_back();
}

void StateTransfer::End() {
  CHECK(gathers_it_ == nullptr);
  active_ = false;
  confirmed_ = false;
  listens_ = false;
  head_ = {};
  done_bytes_ = 0;
  DropCopy();
  std::vector<HeardStep>().swap(steps_);
}

int StateTransfer::holders() const {
  return static_cast<int>(std::count(listeners_.begin(), listeners_.end(), false));
}

void StateTransfer::StartChunk(Communicator& communicator) {
  static_assert(std::is_trivially_copyable_v<ChunkWord>);
  CHECK(std::exchange(gathers_it_, &communicator) == nullptr);
  const uint64_t most =
      std::max<uint64_t>(least_chunk_bytes_, (head_.bytes + kMostChunks - 1) / kMostChunks);
  chunk_begin_ = done_bytes_;
  chunk_bytes_ = std::min(most, head_.bytes - done_bytes_);
  stripe_bytes_ = (chunk_bytes_ + sources_.size() - 1) / sources_.size();
  CHECK_LE(sources_.size(), kSlackBytes);
  const char* mine = nullptr;
  const bool receives = listeners_[static_cast<size_t>(communicator.rank())];
  word_ = {.bad_source = bad_source_};
  for (size_t index = 0; index < sources_.size(); ++index) {
    if (sources_[index] != communicator.rank()) continue;
    mine = Stripe(index).data();
    word_.checksum = ChecksumOf(Stripe(index));
  }
  words_.resize(listeners_.size());
  words_gathered_ = communicator.AllGather(&word_, words_.data(), sizeof(word_), DataType::kUint8);
  if (chunk_bytes_ == 0) return;
  std::vector<int> receivers;
  for (size_t rank = 0; rank < listeners_.size(); ++rank) {
    if (listeners_[rank]) receivers.push_back(static_cast<int>(rank));
  }
  stripes_gathered_ = communicator.Gather(mine, receives ? bytes_.data() + chunk_begin_ : nullptr,
                                          stripe_bytes_, DataType::kUint8, sources_, receivers);
}

Status StateTransfer::FinishChunk() {
  if (std::exchange(gathers_it_, nullptr) == nullptr) return OkStatus();
  const Status words_came = words_gathered_.Wait();
  if (chunk_bytes_ > 0) RETURN_IF_ERROR(stripes_gathered_.Wait());
  RETURN_IF_ERROR(words_came);
  bad_source_ = -1;
  std::set<int> bad_sources;
  for (size_t rank = 0; rank < listeners_.size(); ++rank) {
    const int64_t bad = words_[rank].bad_source;
    if (listeners_[rank] && bad >= 0) bad_sources.insert(static_cast<int>(bad));
  }
  if (!bad_sources.empty()) return GoBack(bad_sources);
  confirmed_ = chunk_bytes_ == 0;
  if (listens_) bad_source_ = FindBadSource();
  last_begin_ = chunk_begin_;
  done_bytes_ += chunk_bytes_;
  return OkStatus();
}

Status StateTransfer::CheckReceived() const { return CheckArrived(bytes(), head_.checksum); }

std::string_view StateTransfer::Stripe(size_t index) const {
  return bytes_.view().substr(chunk_begin_ + index * stripe_bytes_, stripe_bytes_);
}

int StateTransfer::FindBadSource() const {
  for (size_t index = 0; index < sources_.size(); ++index) {
    const uint64_t checksum = words_[static_cast<size_t>(sources_[index])].checksum;
    if (checksum != ChecksumOf(Stripe(index))) return sources_[index];
  }
  return -1;
}

Status StateTransfer::GoBack(const std::set<int>& bad_sources) {
  for (int source : bad_sources) {
    LOG(WARNING) << "a stripe of the state that rank " << source
                 << " sent didn't arrive with its checksum, so it is sent again"
                 << (sources_.size() > 1 ? ", by the others" : "");
    if (sources_.size() > 1) {
      std::erase(sources_, source);
    } else if (++failures_ >= kMostFailures) {
      // Only who finds it so ends: its own memory may be what changes bytes.
      const int failures = std::exchange(failures_, 0);
      if (word_.bad_source < 0) continue;
      return Internal("what rank " + std::to_string(source) + " sent of the state came " +
                      std::to_string(failures) +
                      " times without its checksum: one of the two hosts' memory or network "
                      "changes bytes");
    }
  }
  done_bytes_ = last_begin_;
  return OkStatus();
}

void StateTransfer::Hear(StepNumber step, Generation generation, const StepSamples& samples,
                         std::span<const Buffer> gradients) {
  HeardStep heard_step{StateAfter(heard(), step, generation, samples), samples, {}};
  for (const Buffer& buffer : gradients) {
    PageBuffer copy(buffer.count * SizeOf(buffer.type));
    if (copy.size() > 0) std::memcpy(copy.data(), buffer.data, copy.size());
    heard_step.gradients.push_back(std::move(copy));
  }
  steps_.push_back(std::move(heard_step));
}

// Its memory stays until the end: a chunk that another one has to get again comes here too.
void StateTransfer::Loaded() {
  listens_ = false;
  std::vector<HeardStep>().swap(steps_);
}

}  // namespace closeranks::elastic
