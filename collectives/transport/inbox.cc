#include "collectives/transport/inbox.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

// Fits a core's cache, so that what was staged is still there when it is added.
constexpr size_t kStagingBytes = 128 << 10;
constexpr size_t kPieceAlignment = 64;  // bytes, see Receiver::OnPiece

}  // namespace

const Inbox::Channel* Inbox::FindChannel(ChannelKey key) const {
  for (const Channel& channel : channels_) {
    if (channel.key == key) return &channel;
  }
  return nullptr;
}

Inbox::Channel* Inbox::FindChannel(ChannelKey key) {
  return const_cast<Channel*>(std::as_const(*this).FindChannel(key));
}

Inbox::Receiver* Inbox::FindReceiver(Generation generation, uint8_t channel) {
  Channel* found = FindChannel({generation, channel});
  return found ? found->receiver : nullptr;
}

Status Inbox::Open(Generation generation, uint8_t channel, Receiver* receiver) {
  const ChannelKey key{generation, channel};
  if (IsOver(key)) {
    return StaleGeneration("generation " + std::to_string(generation) +
                           " is over on this transport");
  }
  CHECK(FindChannel(key) == nullptr) << "opened twice: generation " << generation;
  if (generation > floor_) {
    for (size_t i = channels_.size(); i-- > 0;) {
      Close(channels_[i].key.first, channels_[i].key.second);
    }
    floor_ = generation;
    ended_.clear();
    early_.erase(early_.begin(), early_.lower_bound({generation, 0}));
    if (arrival_.held != nullptr && arrival_.envelope.generation < generation) {
      arrival_.held = nullptr;
      arrival_.where = Where::kDiscard;
    }
    for (auto it = held_.begin(); it != held_.end() && it->first.first < generation;) {
      bytes_held_ -= it->second.bytes;
      ++dropped_;
      it = held_.erase(it);
    }
  }
  channels_.push_back({key, receiver, {}});
  auto node = early_.extract(key);
  if (node.empty()) return OkStatus();
  for (const Early& early : node.mapped()) {
    if (early.envelope.kind == MessageKind::kNotice) {
      receiver->OnNotice(early.envelope.tag, early.notice);
    } else {
      receiver->OnAnnounced(early.envelope.tag, early.envelope.fingerprint);
    }
  }
  return OkStatus();
}

void Inbox::Close(Generation generation, uint8_t channel) {
  const ChannelKey key{generation, channel};
  if (missing() > 0 && KeyOf(arrival_.envelope) == key) {
    arrival_.where = Where::kDiscard;
    arrival_.held = nullptr;
    arrival_.receiver = nullptr;
  }
  std::erase_if(channels_, [&](const Channel& c) { return c.key == key; });
  early_.erase(key);
  for (auto it = held_.lower_bound({generation, Tag{channel, 0, 0}.Encode()});
       it != held_.end() && it->first.first == generation &&
       Tag::Decode(it->first.second).channel == channel;) {
    bytes_held_ -= it->second.bytes;
    ++dropped_;
    it = held_.erase(it);
  }
  if (generation >= floor_) ended_.insert(key);
}

void Inbox::Post(Generation generation, uint64_t tag, std::byte* to, size_t bytes, Token token) {
  Channel* channel = FindChannel({generation, Tag::Decode(tag).channel});
  CHECK(channel != nullptr) << "a receive for a generation that isn't open";
  const Posted posted{to, bytes, token};
  auto it = held_.find({generation, tag});
  if (it == held_.end()) {
    const bool is_new = channel->posted.emplace(tag, posted).second;
    CHECK(is_new) << "two receives for one message";
    return;
  }
  if (!it->second.complete) {
    it->second.wanted = posted;
    return;
  }
  const Held held = std::move(it->second);
  held_.erase(it);
  bytes_held_ -= held.bytes;
  HandOver(channel->receiver, posted, held);
}

void Inbox::HandOver(Receiver* receiver, const Posted& posted, const Held& held) {
  if (held.bytes != posted.bytes) {
    receiver->OnBroken(Internal("a message of " + std::to_string(held.bytes) + " bytes, expected " +
                                std::to_string(posted.bytes)));
  } else if (posted.to != nullptr || held.bytes == 0) {
    if (held.bytes > 0) std::memcpy(posted.to, held.memory.get(), held.bytes);
    receiver->OnReceived(posted.token);
  } else {
    receiver->OnPiece(posted.token, 0, {held.memory.get(), held.bytes});
  }
}

bool Inbox::WouldHold(const Envelope& envelope) const {
  if (envelope.kind != MessageKind::kData) return false;
  const ChannelKey key = KeyOf(envelope);
  if (IsOver(key)) return false;
  const Channel* channel = FindChannel(key);
  return channel == nullptr || !channel->posted.contains(envelope.tag);
}

void Inbox::Begin(const Envelope& envelope, size_t bytes) {
  CHECK_EQ(missing(), 0u);
  arrival_ = Arrival{};
  arrival_.envelope = envelope;
  arrival_.bytes = bytes;
  const ChannelKey key = KeyOf(envelope);
  if (IsOver(key)) {
    ++dropped_;
    return;
  }
  Channel* channel = FindChannel(key);
  if (envelope.announces) {
    if (channel != nullptr) {
      channel->receiver->OnAnnounced(envelope.tag, envelope.fingerprint);
    } else {
      early_[key].push_back({envelope, {}});
    }
  }
  if (envelope.kind == MessageKind::kNotice && bytes <= Transport::kMaxNotice) {
    arrival_.where = Where::kNotice;
  } else if (envelope.kind == MessageKind::kData) {
    BeginData(channel);
  }
  if (bytes == 0) Complete();
}

void Inbox::BeginData(Channel* channel) {
  const uint64_t tag = arrival_.envelope.tag;
  auto posted = channel ? channel->posted.find(tag) : decltype(channel->posted.end()){};
  if (channel == nullptr || posted == channel->posted.end()) {
    const auto [it, is_new] = held_.try_emplace({arrival_.envelope.generation, tag});
    if (!is_new) {
      if (channel) channel->receiver->OnBroken(Internal("one message came twice"));
      return;
    }
    Held& held = it->second;
    // Not zeroed: each byte is written before it is read.
    held.memory.reset(new std::byte[arrival_.bytes]);
    held.bytes = arrival_.bytes;
    bytes_held_ += held.bytes;
    arrival_.held = &held;
    arrival_.where = Where::kHeld;
    return;
  }
  arrival_.receiver = channel->receiver;
  arrival_.posted = posted->second;
  channel->posted.erase(posted);
  if (arrival_.posted.bytes != arrival_.bytes) {
    channel->receiver->OnBroken(Internal("a message of " + std::to_string(arrival_.bytes) +
                                         " bytes, expected " +
                                         std::to_string(arrival_.posted.bytes)));
    return;
  }
  arrival_.where = arrival_.posted.to ? Where::kBuffer : Where::kPieces;
  if (arrival_.bytes == 0) arrival_.where = Where::kBuffer;
}

std::byte* Inbox::staging() {
  if (staging_memory_.empty()) staging_memory_.resize(kStagingBytes);
  return staging_memory_.data();
}

std::span<std::byte> Inbox::Room() {
  switch (arrival_.where) {
    case Where::kBuffer:
      return {arrival_.posted.to + arrival_.done, missing()};
    case Where::kHeld:
      return {arrival_.held->memory.get() + arrival_.done, missing()};
    case Where::kPieces:
    case Where::kNotice:
      return {staging() + arrival_.staged, std::min(kStagingBytes - arrival_.staged, missing())};
    case Where::kDiscard:
      break;
  }
  return {staging(), std::min(kStagingBytes, missing())};
}

void Inbox::Filled(size_t bytes) {
  arrival_.done += bytes;
  bytes_received_ += bytes;
  if (arrival_.where == Where::kPieces || arrival_.where == Where::kNotice) {
    arrival_.staged += bytes;
  }
  if (arrival_.where == Where::kPieces && (arrival_.staged == kStagingBytes || missing() == 0)) {
    FlushPieces();
  }
  if (missing() == 0) Complete();
}

void Inbox::FlushPieces() {
  arrival_.receiver->OnPiece(arrival_.posted.token, arrival_.done - arrival_.staged,
                             {staging(), arrival_.staged});
  arrival_.staged = 0;
}

void Inbox::Deliver(std::span<const std::byte> bytes) {
  CHECK_LE(bytes.size(), missing());
  if (arrival_.where == Where::kPieces && arrival_.staged == 0 &&
      (bytes.size() % kPieceAlignment == 0 || bytes.size() == missing())) {
    const size_t offset = arrival_.done;
    arrival_.done += bytes.size();
    bytes_received_ += bytes.size();
    arrival_.receiver->OnPiece(arrival_.posted.token, offset, bytes);
    if (missing() == 0) Complete();
    return;
  }
  if (arrival_.where == Where::kDiscard) {
    Filled(bytes.size());
    return;
  }
  while (!bytes.empty()) {
    const std::span<std::byte> room = Room();
    const size_t part = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), part);
    bytes = bytes.subspan(part);
    Filled(part);
  }
}

void Inbox::Complete() {
  const Where where = arrival_.where;
  arrival_.where = Where::kDiscard;
  switch (where) {
    case Where::kBuffer:
      arrival_.receiver->OnReceived(arrival_.posted.token);
      break;
    case Where::kHeld: {
      Held& held = *arrival_.held;
      arrival_.held = nullptr;
      held.complete = true;
      if (!held.wanted.has_value()) break;
      const ChannelKey key = KeyOf(arrival_.envelope);
      const Held taken = std::move(held);
      held_.erase({arrival_.envelope.generation, arrival_.envelope.tag});
      bytes_held_ -= taken.bytes;
      if (Channel* channel = FindChannel(key)) HandOver(channel->receiver, *taken.wanted, taken);
      break;
    }
    case Where::kNotice: {
      const ChannelKey key = KeyOf(arrival_.envelope);
      const std::span<const std::byte> notice{staging(), arrival_.bytes};
      if (Channel* channel = FindChannel(key)) {
        channel->receiver->OnNotice(arrival_.envelope.tag, notice);
      } else if (!IsOver(key)) {
        early_[key].push_back({arrival_.envelope, {notice.begin(), notice.end()}});
      }
      break;
    }
    case Where::kPieces:
    case Where::kDiscard:
      break;
  }
}

void Inbox::CancelArrival() {
  if (missing() == 0) return;
  if (arrival_.held != nullptr) {
    bytes_held_ -= arrival_.held->bytes;
    held_.erase({arrival_.envelope.generation, arrival_.envelope.tag});
  }
  arrival_ = Arrival{};
}

}  // namespace closeranks::collectives
