#include "elastic/state_transfer.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <type_traits>
#include <utility>

#include "elastic/checkpoint/safetensors.h"
#include "glog/logging.h"
#include "xxhash.h"

namespace closeranks::elastic {
namespace {

constexpr uint64_t kMostChunks = 16;
// The only source that is left is asked so often.
constexpr int kMostFailures = 3;

uint64_t Checksum(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace

Status StateTransfer::Begin(Communicator& communicator, std::vector<bool> listeners,
                            const Source& source, bool anew) {
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
  // Where it goes on, the listeners know which copy it is.
  const auto known = std::find(listeners_.begin(), listeners_.end(), !is_new_);
  head_ = words[static_cast<size_t>(known - listeners_.begin())].head;
  done_bytes_ = head_.bytes;
  sources_.clear();
  at_once_ = false;
  for (size_t rank = 0; rank < words.size(); ++rank) {
    const Word& word = words[rank];
    at_once_ |= word.at_once != 0;
    if (listeners_[rank]) {
      done_bytes_ = std::min(done_bytes_, word.done_bytes);
    } else if (word.head == head_) {
      sources_.push_back(static_cast<int>(rank));
    } else if (is_new_) {
      LOG(WARNING) << "rank " << rank << " has another state of step " << head_.state.applied
                   << " than the lowest rank, so it sends nothing of it to who joins";
    }
  }
  last_begin_ = done_bytes_;
  bad_source_ = -1;
  failures_ = 0;
  if (listens_) {
    DropStepsAfter(source.state);
    bytes_.resize(head_.bytes);
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
  if (!listens_) bytes_ = EncodeSafetensors(source.owner.Pieces(), {});
  is_whole_ = !listens_;
  head_ = {source.state, source.lineage, bytes_.size(), Checksum(bytes_)};
}

// Its memory as well.
void StateTransfer::DropCopy() {
  is_whole_ = false;
  std::string().swap(bytes_);
}

void StateTransfer::DropStepsAfter(const rendezvous::WorkerState& state) {
  while (heard() != state && !steps_.empty()) steps_.pop_back();
}

void StateTransfer::End() {
  active_ = false;
  confirmed_ = false;
  listens_ = false;
  head_ = {};
  done_bytes_ = 0;
  DropCopy();
  for (std::string* bytes : {&stripe_, &stripes_}) std::string().swap(*bytes);
  std::vector<HeardStep>().swap(steps_);
}

void StateTransfer::StartChunk(Communicator& communicator) {
  static_assert(std::is_trivially_copyable_v<StripeHead>);
  const uint64_t most =
      std::max<uint64_t>(least_chunk_bytes_, (head_.bytes + kMostChunks - 1) / kMostChunks);
  chunk_begin_ = done_bytes_;
  chunk_bytes_ = std::min(most, head_.bytes - done_bytes_);
  stripe_bytes_ = (chunk_bytes_ + sources_.size() - 1) / sources_.size();
  stripe_.assign(sizeof(StripeHead) + stripe_bytes_, '\0');
  StripeHead head{.bad_source = bad_source_};
  const auto self = std::find(sources_.begin(), sources_.end(), communicator.rank());
  if (self != sources_.end()) {
    const size_t index = static_cast<size_t>(self - sources_.begin());
    const size_t begin = std::min(index * stripe_bytes_, chunk_bytes_);
    const size_t count = std::min(stripe_bytes_, chunk_bytes_ - begin);
    std::memcpy(stripe_.data() + sizeof(head), bytes_.data() + chunk_begin_ + begin, count);
    head.checksum = Checksum(std::string_view(stripe_).substr(sizeof(head)));
  }
  std::memcpy(stripe_.data(), &head, sizeof(head));
  stripes_.resize(stripe_.size() * listeners_.size());
  gathered_ =
      communicator.AllGather(stripe_.data(), stripes_.data(), stripe_.size(), DataType::kUint8);
}

Status StateTransfer::FinishChunk() {
  RETURN_IF_ERROR(gathered_.Wait());
  bad_source_ = -1;
  std::set<int> bad_sources;
  for (size_t rank = 0; rank < listeners_.size(); ++rank) {
    if (!listeners_[rank]) continue;
    StripeHead head;
    std::memcpy(&head, StripeOf(static_cast<int>(rank)).data(), sizeof(head));
    if (head.bad_source >= 0) bad_sources.insert(static_cast<int>(head.bad_source));
  }
  if (!bad_sources.empty()) return GoBack(bad_sources);
  confirmed_ = chunk_bytes_ == 0;
  if (listens_ && !confirmed_) bad_source_ = TakeStripes();
  last_begin_ = chunk_begin_;
  done_bytes_ += chunk_bytes_;
  if (!listens_ || confirmed_ || !received()) return OkStatus();
  if (Checksum(bytes_) != head_.checksum) {
    return Internal("the state that was received doesn't have its checksum");
  }
  is_whole_ = true;
  return OkStatus();
}

std::string_view StateTransfer::StripeOf(int rank) const {
  return std::string_view(stripes_).substr(static_cast<size_t>(rank) * stripe_.size(),
                                           stripe_.size());
}

int StateTransfer::TakeStripes() {
  for (size_t index = 0; index < sources_.size(); ++index) {
    const size_t begin = std::min(index * stripe_bytes_, chunk_bytes_);
    const size_t count = std::min(stripe_bytes_, chunk_bytes_ - begin);
    const std::string_view stripe = StripeOf(sources_[index]);
    StripeHead head;
    std::memcpy(&head, stripe.data(), sizeof(head));
    if (head.checksum != Checksum(stripe.substr(sizeof(head)))) return sources_[index];
    std::memcpy(bytes_.data() + chunk_begin_ + begin, stripe.data() + sizeof(head), count);
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
      return Internal("what rank " + std::to_string(source) + " sent of the state came " +
                      std::to_string(failures_) +
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
    heard_step.gradients.emplace_back(static_cast<const char*>(buffer.data),
                                      buffer.count * SizeOf(buffer.type));
  }
  steps_.push_back(std::move(heard_step));
}

void StateTransfer::Loaded() {
  listens_ = false;
  DropCopy();
  std::vector<HeardStep>().swap(steps_);
}

}  // namespace closeranks::elastic
