#include "collectives/transport/simulated_transport.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "collectives/transport/inbox_transport.h"
#include "glog/logging.h"

namespace closeranks::collectives {

// What is on the way to one end.
struct SimulatedLink::Direction {
  struct Message {
    TimePoint due;
    Envelope envelope;
    std::vector<std::byte> payload;
  };

  void Push(const Envelope& envelope, const std::byte* data, size_t bytes) {
    if (options.lose_one_in > 0 && random.OneIn(options.lose_one_in)) return;
    Message message{NextDue(), envelope, {}};
    if (bytes > 0) message.payload.assign(data, data + bytes);
    (clogged ? waiting : messages).push_back(std::move(message));
  }

  // A stream keeps its order.
  TimePoint NextDue() {
    const auto spread = static_cast<uint64_t>((options.max_delay - options.min_delay).count());
    const Duration delay = options.min_delay + Duration(spread > 0 ? random.Below(spread) : 0);
    last_due = std::max(last_due, clock.Now() + delay);
    return last_due;
  }

  const Clock& clock;
  Random& random;
  const Options options;
  TimePoint last_due{};
  std::deque<Message> messages;
  std::deque<Message> waiting;  // behind the clog
  bool clogged = false;
  std::optional<TimePoint> end_due;  // the end of the stream
};

class SimulatedLink::End final : public InboxTransport {
 public:
  End(const MemberProcess& peer, Direction& in, Direction& out)
      : InboxTransport(peer), in_(in), out_(out) {}

  std::string_view name() const override { return "simulated"; }
  Capabilities capabilities() const override { return {.polls_memory = true}; }
  void Quiesce(Generation generation, uint8_t channel) override {
    inbox_.Close(generation, channel);
    std::erase_if(unsent_, [&](const Unsent& send) {
      return send.receiver != nullptr && send.envelope.generation == generation &&
             Tag::Decode(send.envelope.tag).channel == channel;
    });
  }
  void Send(const Envelope& envelope, const std::byte* data, size_t bytes, Token token) override {
    if (!failure_.ok() || dead_) return;
    Receiver* receiver =
        inbox_.FindReceiver(envelope.generation, Tag::Decode(envelope.tag).channel);
    CHECK(receiver != nullptr) << "a send for a generation that isn't open";
    unsent_.push_back({envelope, data, bytes, receiver, token, {}});
  }
  void Notify(const Envelope& envelope, std::span<const std::byte> text) override {
    if (!failure_.ok() || dead_) return;
    unsent_.push_back({envelope, nullptr, text.size(), nullptr, {}, {text.begin(), text.end()}});
  }

  bool Poll(bool) override {
    if (!failure_.ok() || dead_) return false;
    bool moved = false;
    // A send takes its memory at the poll after it, so that whoever changes it too early is found
    // out.
    for (const Unsent& send : std::exchange(unsent_, {})) {
      const bool is_notice = send.receiver == nullptr;
      out_.Push(send.envelope, is_notice ? send.owned.data() : send.data, send.bytes);
      bytes_sent_ += send.bytes;
      if (!is_notice) send.receiver->OnSent(send.token);
      moved = true;
    }
    const TimePoint now = in_.clock.Now();
    while (!in_.messages.empty() && in_.messages.front().due <= now) {
      const Direction::Message message = std::move(in_.messages.front());
      in_.messages.pop_front();
      inbox_.Begin(message.envelope, message.payload.size());
      if (!message.payload.empty()) inbox_.Deliver(message.payload);
      moved = true;
    }
    if (in_.messages.empty() && in_.end_due && *in_.end_due <= now) {
      failure_ = PeerLost("the simulated peer died");
      return true;
    }
    return moved;
  }

  int descriptor() const override { return -1; }
  bool wants_to_write() const override { return false; }
  bool PrepareToSleep() override { return true; }
  void Awake() override {}
  void Close() override {
    failure_ = Aborted("the peer was given up");
    unsent_.clear();
    if (!out_.end_due) out_.end_due = out_.NextDue();
  }

  void Die() {
    dead_ = true;
    unsent_.clear();
  }

 private:
  struct Unsent {
    Envelope envelope;
    const std::byte* data;
    size_t bytes;
    Receiver* receiver;  // null for a notice, whose bytes are `owned`
    Token token;
    std::vector<std::byte> owned;
  };

  Direction& in_;
  Direction& out_;
  std::vector<Unsent> unsent_;
  bool dead_ = false;
};

SimulatedLink::SimulatedLink(const MemberProcess& first, const MemberProcess& second,
                             const Clock& clock, Random& random, const Options& options) {
  for (auto& direction : directions_) {
    direction.reset(new Direction{clock, random, options, {}, {}, {}, false, {}});
  }
  ends_[0] = std::make_unique<End>(second, *directions_[0], *directions_[1]);
  ends_[1] = std::make_unique<End>(first, *directions_[1], *directions_[0]);
}

SimulatedLink::~SimulatedLink() = default;

Transport& SimulatedLink::end(int which) { return *ends_[which]; }

void SimulatedLink::Kill(int which) {
  ends_[which]->Die();
  Direction& to_other = *directions_[1 - which];
  to_other.end_due = to_other.NextDue();
}

void SimulatedLink::Clog() {
  for (auto& direction : directions_) direction->clogged = true;
}

void SimulatedLink::Unclog() {
  for (auto& direction : directions_) {
    direction->clogged = false;
    for (Direction::Message& message : std::exchange(direction->waiting, {})) {
      message.due = direction->NextDue();
      direction->messages.push_back(std::move(message));
    }
  }
}

TimePoint SimulatedLink::NextArrival() const {
  TimePoint next = kNever;
  for (const auto& direction : directions_) {
    if (!direction->messages.empty()) next = std::min(next, direction->messages.front().due);
    if (direction->end_due) next = std::min(next, *direction->end_due);
  }
  return next;
}

}  // namespace closeranks::collectives
