#include "elastic/state_transfer.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "elastic/checkpoint/safetensors.h"
#include "glog/logging.h"
#include "xxhash.h"

namespace closeranks::elastic {
namespace {

constexpr uint64_t kMostChunks = 16;
constexpr size_t kChecksumBytes = sizeof(uint64_t);

uint64_t Checksum(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace

Status StateTransfer::Begin(Communicator& communicator, std::vector<bool> listeners,
                            const Source& source, bool anew) {
  active_ = true;
  listeners_ = std::move(listeners);
  listens_ = listeners_[static_cast<size_t>(communicator.rank())];
  ASSIGN_OR_RETURN(std::vector<Word> words, Exchange(communicator, source.at_once));
  if (anew || !CanGoOn(words, source.state)) {
    steps_.clear();
    heard_ = source.state;
    done_bytes_ = 0;
    bytes_ = listens_ ? std::string() : EncodeSafetensors(source.owner.Pieces(), {});
    head_ = {source.state, source.lineage, bytes_.size(), Checksum(bytes_)};
    ASSIGN_OR_RETURN(words, Exchange(communicator, source.at_once));
  }
  const auto first = std::find(listeners_.begin(), listeners_.end(), false);
  head_ = words[static_cast<size_t>(first - listeners_.begin())].head;
  sources_.clear();
  at_once_ = false;
  for (size_t rank = 0; rank < words.size(); ++rank) {
    const Word& word = words[rank];
    at_once_ |= word.at_once != 0;
    if (listeners_[rank]) {
      done_bytes_ = word.done_bytes;
    } else if (word.head == head_) {
      sources_.push_back(static_cast<int>(rank));
    } else {
      LOG(WARNING) << "rank " << rank << " has another state of step " << head_.state.applied
                   << " than the lowest rank, so it sends nothing of it to who joins";
    }
  }
  if (listens_) bytes_.resize(head_.bytes);
  return OkStatus();
}

Result<std::vector<StateTransfer::Word>> StateTransfer::Exchange(Communicator& communicator,
                                                                 bool at_once) const {
  static_assert(std::is_trivially_copyable_v<Word>);
  const Word mine{head_, heard_, done_bytes_, at_once ? 1 : 0};
  std::vector<Word> words(static_cast<size_t>(communicator.size()));
  RETURN_IF_ERROR(
      communicator.AllGather(&mine, words.data(), sizeof(Word), DataType::kUint8).Wait());
  return words;
}

bool StateTransfer::CanGoOn(std::span<const Word> words,
                            const rendezvous::WorkerState& resume) const {
  const Word* listener = nullptr;
  for (size_t rank = 0; rank < words.size(); ++rank) {
    const Word& word = words[rank];
    if (word.head.bytes == 0 || word.head != words.front().head) return false;
    if (!listeners_[rank]) continue;
    if (listener == nullptr) listener = &word;
    if (word.done_bytes == 0) return false;  // a newer copy is as good
    if (word.heard != resume || word.done_bytes != listener->done_bytes) return false;
  }
  return true;
}

void StateTransfer::End() {
  active_ = false;
  listens_ = false;
  head_ = {};
  heard_ = {};
  done_bytes_ = 0;
  // The memory as well.
  for (std::string* bytes : {&bytes_, &stripe_, &stripes_}) std::string().swap(*bytes);
  std::vector<HeardStep>().swap(steps_);
}

void StateTransfer::StartChunk(Communicator& communicator) {
  const uint64_t most =
      std::max<uint64_t>(least_chunk_bytes_, (head_.bytes + kMostChunks - 1) / kMostChunks);
  chunk_bytes_ = std::min(most, head_.bytes - done_bytes_);
  stripe_bytes_ = (chunk_bytes_ + sources_.size() - 1) / sources_.size();
  stripe_.assign(kChecksumBytes + stripe_bytes_, '\0');
  const auto self = std::find(sources_.begin(), sources_.end(), communicator.rank());
  if (self != sources_.end()) {
    const size_t index = static_cast<size_t>(self - sources_.begin());
    const size_t begin = std::min(index * stripe_bytes_, chunk_bytes_);
    const size_t count = std::min(stripe_bytes_, chunk_bytes_ - begin);
    std::memcpy(stripe_.data() + kChecksumBytes, bytes_.data() + done_bytes_ + begin, count);
    const uint64_t checksum = Checksum(std::string_view(stripe_).substr(kChecksumBytes));
    std::memcpy(stripe_.data(), &checksum, kChecksumBytes);
  }
  stripes_.resize(stripe_.size() * static_cast<size_t>(communicator.size()));
  gathered_ =
      communicator.AllGather(stripe_.data(), stripes_.data(), stripe_.size(), DataType::kUint8);
}

Status StateTransfer::FinishChunk() {
  RETURN_IF_ERROR(gathered_.Wait());
  for (size_t index = 0; listens_ && index < sources_.size(); ++index) {
    const size_t begin = std::min(index * stripe_bytes_, chunk_bytes_);
    const size_t count = std::min(stripe_bytes_, chunk_bytes_ - begin);
    const std::string_view stripe = std::string_view(stripes_).substr(
        static_cast<size_t>(sources_[index]) * stripe_.size(), stripe_.size());
    uint64_t checksum = 0;
    std::memcpy(&checksum, stripe.data(), kChecksumBytes);
    if (checksum != Checksum(stripe.substr(kChecksumBytes))) {
      return Internal("what rank " + std::to_string(sources_[index]) +
                      " sent of the state doesn't have its checksum: one of the two hosts' memory "
                      "or network changes bytes");
    }
    std::memcpy(bytes_.data() + done_bytes_ + begin, stripe.data() + kChecksumBytes, count);
  }
  done_bytes_ += chunk_bytes_;
  if (listens_ && complete() && Checksum(bytes_) != head_.checksum) {
    return Internal("the state that was received doesn't have its checksum");
  }
  return OkStatus();
}

void StateTransfer::Hear(StepNumber step, Generation generation, const StepSamples& samples,
                         std::span<const Buffer> gradients) {
  HeardStep heard{step, generation, samples, {}};
  for (const Buffer& buffer : gradients) {
    heard.gradients.emplace_back(static_cast<const char*>(buffer.data),
                                 buffer.count * SizeOf(buffer.type));
  }
  steps_.push_back(std::move(heard));
  heard_ = StateAfter(heard_, step, generation, samples);
}

void StateTransfer::Loaded() {
  listens_ = false;
  // It can't send this copy to anybody.
  head_ = {};
  done_bytes_ = 0;
  std::string().swap(bytes_);
  std::vector<HeardStep>().swap(steps_);
}

}  // namespace closeranks::elastic
