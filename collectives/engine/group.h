// The ranks of one communicator as the engine sees them: which transport leads to which, what each
// has begun.
#ifndef CLOSERANKS_COLLECTIVES_ENGINE_GROUP_H_
#define CLOSERANKS_COLLECTIVES_ENGINE_GROUP_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/member.h"
#include "base/status.h"
#include "collectives/engine/operation.h"
#include "collectives/transport/transport.h"

namespace closeranks::collectives {

struct GroupSpec {
  int rank = 0;
  int size = 1;
  Generation generation = 0;
  // Tells communicators of one generation apart, so that several can use the same transports.
  uint8_t channel = 0;
  // For each rank; null for the own. All attached to the engine; they outlive the group.
  std::vector<Transport*> transports;
};

// Everything is guarded by the lock of its engine, which is the only one to call it.
class Group {
 public:
  // `eager_bytes`: how much may be sent to a peer for operations that it hasn't begun, and so has
  // to hold back. More waits until it has.
  Group(const GroupSpec& spec, size_t eager_bytes);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group();

  // Opens the generation and channel on all transports, or on none.
  Status Open();

  int rank() const { return spec_.rank; }
  int size() const { return spec_.size; }
  Generation generation() const { return spec_.generation; }
  uint8_t channel() const { return spec_.channel; }
  const Status& health() const { return health_; }
  // The rank that this transport leads to, or -1.
  int RankOf(const Transport* transport) const;

  // Begins an operation; its sequence must be the next. Then RunReady.
  void Start(std::shared_ptr<Operation> operation);
  // Runs steps until none is ready. True when any ran.
  bool RunReady();
  // Operations that have ended well since the last call.
  std::vector<std::shared_ptr<Operation>> TakeCompleted() { return std::exchange(completed_, {}); }

  // A mismatch or a broken rule that was noticed meanwhile: to be given to Fail.
  std::optional<Status> TakeFailure() { return std::exchange(failure_, std::nullopt); }

  // Tells the peers that this rank leaves in good order: it has ended all that it began.
  void SayGoodbye();
  // A transport has failed. Ok when that peer had said goodbye and operations are under way that
  // don't need it any more: then those may still end well, and what comes later fails with `why`
  // (see LeftBehind). Otherwise `why`, to be given to Fail.
  Status NoteLost(int rank, Status why);
  // What NoteLost was told, once nothing is under way.
  std::optional<Status> LeftBehind() const;

  // The first call decides: ends the generation and channel on all transports and returns the
  // operations that were under way, which the caller ends with health(). No transport touches their
  // memory any more.
  std::vector<std::shared_ptr<Operation>> Fail(Status why);

  // The operation that is first past its deadline, if there is one; and the earliest deadline.
  std::shared_ptr<Operation> FindOverdue(TimePoint now) const;
  TimePoint EarliestDeadline() const;
  size_t operations_under_way() const { return operations_.size(); }
  // The oldest operation under way, or null.
  std::shared_ptr<Operation> Oldest() const;

 private:
  // One peer. Its transport calls it.
  class Link final : public Transport::Receiver {
   public:
    Link(Group& group, int rank, Transport* transport)
        : group_(group), rank_(rank), transport_(transport) {}

    void OnSent(Transport::Token token) override;
    void OnReceived(Transport::Token token) override;
    void OnPiece(Transport::Token token, size_t offset, std::span<const std::byte> piece) override;
    void OnAnnounced(uint64_t tag, const Fingerprint& fingerprint) override;
    void OnNotice(uint64_t tag, std::span<const std::byte> notice) override;
    void OnBroken(const Status& why) override;

    struct Parked {
      std::shared_ptr<Operation> operation;
      uint32_t step;
    };

    Group& group_;
    const int rank_;
    Transport* const transport_;
    bool open_ = false;
    bool said_goodbye_ = false;
    uint64_t begun_ = 0;  // the peer has begun all operations below this one
    // Announcements of operations that we haven't begun yet: (sequence, fingerprint), ascending.
    std::deque<std::pair<uint64_t, Fingerprint>> early_;
    // What was sent for operations that the peer hasn't begun: (sequence, bytes), and the sum.
    std::deque<std::pair<uint64_t, size_t>> eager_;
    size_t eager_sum_ = 0;
    std::deque<Parked> parked_;  // sends beyond that
  };

  struct Ready {
    Operation* operation;  // under way, so operations_ keeps it
    uint32_t step;
  };

  void FinishStep(Operation& operation, size_t step);
  void NoteComplete(uint64_t sequence);
  void RunStep(Operation& operation, uint32_t index);
  void RunSend(Operation& operation, uint32_t index);
  Envelope EnvelopeFor(const Operation& operation, const Step& step) const;
  void Announce(Operation& operation);
  void Unpark(Link& link);
  void Tell(Link& link, uint64_t tag, std::span<const std::byte> notice);
  void CompareCalls(int peer, uint64_t sequence, const Fingerprint& theirs);
  void ReportMismatch(uint64_t sequence, int rank_a, const Fingerprint& a, int rank_b,
                      const Fingerprint& b);

  const GroupSpec spec_;
  const size_t eager_bytes_;
  std::vector<std::unique_ptr<Link>> links_;  // for each rank; null for the own
  Status health_;
  std::optional<Status> failure_;
  std::optional<Status> left_behind_;
  bool broke_off_ = false;  // an operation ended with an error
  // What Fail tells the peers first, if anything.
  std::vector<std::byte> pending_notice_;
  uint64_t pending_notice_tag_ = 0;
  uint64_t next_sequence_ = 0;
  std::map<uint64_t, std::shared_ptr<Operation>> operations_;  // under way, by sequence
  std::deque<Fingerprint> history_;  // of the last operations begun, the newest last
  std::deque<Ready> ready_;
  std::vector<uint32_t> newly_ready_;  // scratch of FinishStep
  std::vector<std::shared_ptr<Operation>> completed_;
};

}  // namespace closeranks::collectives

#endif  // CLOSERANKS_COLLECTIVES_ENGINE_GROUP_H_
