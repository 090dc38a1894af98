#include "collectives/engine/group.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "glog/logging.h"

namespace closeranks::collectives {
namespace {

// So many operations may have ended here when a peer's differing call comes in, and still be named.
constexpr size_t kHistory = 1024;

// What ranks tell each other beside data.
enum class NoticeKind : uint64_t {
  kMismatch = 1,  // whoever finds one tells everyone: all of the notice counts
  kGoodbye = 2,
};
struct Notice {
  NoticeKind kind = NoticeKind::kGoodbye;
  int32_t rank_a = 0;
  int32_t rank_b = 0;
  Fingerprint a{};
  Fingerprint b{};
};
static_assert(sizeof(Notice) <= Transport::kMaxNotice);

Transport::Token TokenOf(Operation& operation, uint32_t step) { return {&operation, step}; }

Operation& OperationOf(Transport::Token token) { return *static_cast<Operation*>(token.operation); }

}  // namespace

Group::Group(const GroupSpec& spec, size_t eager_bytes)
    : spec_(spec), eager_bytes_(eager_bytes), links_(spec.size) {
  for (int rank = 0; rank < spec_.size; ++rank) {
    if (rank == spec_.rank) continue;
    links_[rank] = std::make_unique<Link>(*this, rank, spec_.transports[rank]);
  }
}

Group::~Group() { CHECK(!health_.ok()) << "a group must fail before it goes"; }

Status Group::Open() {
  for (const auto& link : links_) {
    if (!link) continue;
    Status status = link->transport_->failure();
    if (status.ok()) {
      status = link->transport_->Open(spec_.generation, spec_.channel, link.get());
      link->open_ = status.ok();
    }
    if (!status.ok()) {
      status = Status(status.code(), status.message())
                   .WithSuspectedRank(link->rank_)
                   .WithGeneration(spec_.generation);
      (void)Fail(status);
      return status;
    }
  }
  return OkStatus();
}

int Group::RankOf(const Transport* transport) const {
  for (const auto& link : links_) {
    if (link && link->transport_ == transport) return link->rank_;
  }
  return -1;
}

void Group::Start(std::shared_ptr<Operation> operation) {
  const uint64_t sequence = operation->spec().sequence;
  CHECK_EQ(sequence, next_sequence_) << "operations must be begun in order";
  CHECK_LE(sequence, Tag::kMaxSequence);
  ++next_sequence_;
  Operation& op = *operation;
  operations_.emplace(sequence, std::move(operation));
  history_.push_back(op.spec().call.Encode());
  if (history_.size() > kHistory) history_.pop_front();
  for (const auto& link : links_) {
    if (!link) continue;
    while (!link->early_.empty() && link->early_.front().first <= sequence) {
      const auto [early_sequence, fingerprint] = link->early_.front();
      link->early_.pop_front();
      CompareCalls(link->rank_, early_sequence, fingerprint);
    }
  }
  const Schedule& schedule = op.schedule();
  for (uint32_t i = 0; i < schedule.steps.size(); ++i) {
    CHECK_LE(schedule.steps[i].message, Tag::kMaxMessage);
    if (schedule.dependency_counts[i] == 0) ready_.push_back({&op, i});
  }
  RunReady();
  Announce(op);  // also if it is complete already: a peer may wait to hear of it
  if (schedule.steps.empty()) NoteComplete(sequence);
}

// Whoever sends to us has to know that we have begun, and what: for its flow control, and because
// nothing else of ours may ever come its way.
void Group::Announce(Operation& operation) {
  for (int peer : operation.schedule().receives_from) {
    if (operation.announced_to(peer)) continue;
    operation.set_announced_to(peer);
    Envelope envelope;
    envelope.kind = MessageKind::kAnnounce;
    envelope.announces = true;
    envelope.generation = spec_.generation;
    envelope.tag = Tag{spec_.channel, operation.spec().sequence, 0}.Encode();
    envelope.fingerprint = operation.spec().call.Encode();
    links_[peer]->transport_->Notify(envelope, {});
  }
}

bool Group::RunReady() {
  if (ready_.empty()) return false;
  while (!ready_.empty()) {
    const Ready next = ready_.front();
    ready_.pop_front();
    RunStep(*next.operation, next.step);
  }
  return true;
}

void Group::RunStep(Operation& operation, uint32_t index) {
  const Step& step = operation.step(index);
  const auto tag_of = [&] {
    return Tag{spec_.channel, operation.spec().sequence, step.message}.Encode();
  };
  switch (step.kind) {
    case StepKind::kSend:
      RunSend(operation, index);
      return;
    case StepKind::kRecv:
      links_[step.peer]->transport_->Recv(spec_.generation, tag_of(),
                                          step.count > 0 ? operation.At(step.to) : nullptr,
                                          operation.BytesOf(step), TokenOf(operation, index));
      return;
    case StepKind::kReduceFromView:
      links_[step.peer]->transport_->RecvPieces(spec_.generation, tag_of(), operation.BytesOf(step),
                                                TokenOf(operation, index));
      return;
    case StepKind::kCopy:
      operation.RunCopy(step);
      break;
    case StepKind::kReduce:
      operation.RunReduce(step);
      break;
  }
  FinishStep(operation, index);
}

void Group::RunSend(Operation& operation, uint32_t index) {
  const Step& step = operation.step(index);
  Link& link = *links_[step.peer];
  const uint64_t sequence = operation.spec().sequence;
  const size_t bytes = operation.BytesOf(step);
  if (sequence >= link.begun_) {
    // One send may exceed the limit, or a large one would never go.
    if (link.eager_sum_ > 0 && link.eager_sum_ + bytes > eager_bytes_) {
      link.parked_.push_back({operations_.at(sequence), index});
      return;
    }
    link.eager_.emplace_back(sequence, bytes);
    link.eager_sum_ += bytes;
  }
  Envelope envelope;
  envelope.generation = spec_.generation;
  envelope.tag = Tag{spec_.channel, sequence, step.message}.Encode();
  envelope.fingerprint = operation.spec().call.Encode();
  envelope.announces = !operation.announced_to(step.peer);
  operation.set_announced_to(step.peer);
  link.transport_->Send(envelope, bytes > 0 ? operation.At(step.from) : nullptr, bytes,
                        TokenOf(operation, index));
}

void Group::FinishStep(Operation& operation, size_t step) {
  newly_ready_.clear();
  operation.Finish(step, &newly_ready_);
  for (uint32_t index : newly_ready_) ready_.push_back({&operation, index});
  if (operation.IsComplete()) NoteComplete(operation.spec().sequence);
}

void Group::NoteComplete(uint64_t sequence) {
  // A mismatch that is known but not settled yet: what has "completed" since may be another call's
  // data.
  if (failure_.has_value()) return;
  completed_.push_back(std::move(operations_.at(sequence)));
  operations_.erase(sequence);
}

void Group::Unpark(Link& link) {
  while (!link.eager_.empty() && link.eager_.front().first < link.begun_) {
    link.eager_sum_ -= link.eager_.front().second;
    link.eager_.pop_front();
  }
  // Those that are still beyond the limit park again, in the same order.
  std::deque<Link::Parked> parked = std::exchange(link.parked_, {});
  for (const Link::Parked& send : parked) ready_.push_back({send.operation.get(), send.step});
}

void Group::CompareCalls(int peer, uint64_t sequence, const Fingerprint& theirs) {
  const uint64_t oldest = next_sequence_ - history_.size();
  if (sequence < oldest) return;
  const Fingerprint& ours = history_[sequence - oldest];
  if (ours != theirs) {
    Notice notice{NoticeKind::kMismatch, spec_.rank, peer, ours, theirs};
    if (notice.rank_a > notice.rank_b) {
      std::swap(notice.rank_a, notice.rank_b);
      std::swap(notice.a, notice.b);
    }
    const bool is_first = !failure_.has_value() && health_.ok();
    ReportMismatch(sequence, notice.rank_a, notice.a, notice.rank_b, notice.b);
    if (!is_first) return;
    // The others may wait for one of the two, and never hear of it by themselves. (Not sent from
    // here: this may be a transport's callback.)
    const auto bytes = std::as_bytes(std::span(&notice, 1));
    pending_notice_.assign(bytes.begin(), bytes.end());
    pending_notice_tag_ = Tag{spec_.channel, sequence, 0}.Encode();
    return;
  }
  auto it = operations_.find(sequence);
  if (it == operations_.end()) return;
  it->second->NoteHeard(peer);
  if (it->second->IsComplete()) NoteComplete(sequence);
}

void Group::ReportMismatch(uint64_t sequence, int rank_a, const Fingerprint& a, int rank_b,
                           const Fingerprint& b) {
  if (failure_.has_value()) return;
  failure_ = Mismatch("rank " + std::to_string(rank_a) + " called " + Call::Decode(a).ToString() +
                      "; rank " + std::to_string(rank_b) + " called " + Call::Decode(b).ToString())
                 .WithSuspectedRank(rank_a == spec_.rank ? rank_b : rank_a)
                 .WithGeneration(spec_.generation)
                 .WithOpSequence(sequence);
}

void Group::Tell(Link& link, uint64_t tag, std::span<const std::byte> notice) {
  Envelope envelope;
  envelope.kind = MessageKind::kNotice;
  envelope.generation = spec_.generation;
  envelope.tag = tag;
  link.transport_->Notify(envelope, notice);
}

void Group::SayGoodbye() {
  if (broke_off_ || !operations_.empty()) return;
  const Notice goodbye;
  for (const auto& link : links_) {
    if (!link) continue;
    // The sequence tells how many operations this rank has begun.
    Tell(*link, Tag{spec_.channel, next_sequence_, 0}.Encode(),
         std::as_bytes(std::span(&goodbye, 1)));
  }
}

Status Group::NoteLost(int rank, Status why) {
  const bool is_needed =
      std::any_of(operations_.begin(), operations_.end(), [&](const auto& operation) {
        return operation.second->Needs(rank) || operation.first >= links_[rank]->begun_;
      });
  if (operations_.empty() || is_needed || !links_[rank]->said_goodbye_) return why;
  if (!left_behind_.has_value()) left_behind_ = std::move(why);
  return OkStatus();
}

std::optional<Status> Group::LeftBehind() const {
  return operations_.empty() ? left_behind_ : std::nullopt;
}

std::vector<std::shared_ptr<Operation>> Group::Fail(Status why) {
  CHECK(!why.ok());
  if (!health_.ok()) return {};
  health_ = std::move(why);
  for (const auto& link : links_) {
    if (!link) continue;
    if (link->open_) {
      if (!pending_notice_.empty()) Tell(*link, pending_notice_tag_, pending_notice_);
      link->transport_->Quiesce(spec_.generation, spec_.channel);
      link->open_ = false;
    }
    link->parked_.clear();
    link->early_.clear();
    link->eager_.clear();
  }
  ready_.clear();
  std::vector<std::shared_ptr<Operation>> under_way;
  for (auto& [sequence, operation] : operations_) under_way.push_back(std::move(operation));
  operations_.clear();
  broke_off_ = !under_way.empty();
  return under_way;
}

std::shared_ptr<Operation> Group::FindOverdue(TimePoint now) const {
  for (const auto& [sequence, operation] : operations_) {
    if (operation->spec().deadline <= now) return operation;
  }
  return nullptr;
}

TimePoint Group::EarliestDeadline() const {
  TimePoint earliest = kNever;
  for (const auto& [sequence, operation] : operations_) {
    earliest = std::min(earliest, operation->spec().deadline);
  }
  return earliest;
}

std::shared_ptr<Operation> Group::Oldest() const {
  return operations_.empty() ? nullptr : operations_.begin()->second;
}

void Group::Link::OnSent(Transport::Token token) {
  group_.FinishStep(OperationOf(token), token.step);
}

void Group::Link::OnReceived(Transport::Token token) {
  group_.FinishStep(OperationOf(token), token.step);
}

void Group::Link::OnPiece(Transport::Token token, size_t offset, std::span<const std::byte> piece) {
  Operation& operation = OperationOf(token);
  const Step& step = operation.step(token.step);
  operation.RunReduceFromView(step, offset, piece);
  if (offset + piece.size() == operation.BytesOf(step)) group_.FinishStep(operation, token.step);
}

void Group::Link::OnAnnounced(uint64_t tag, const Fingerprint& fingerprint) {
  const uint64_t sequence = Tag::Decode(tag).sequence;
  begun_ = std::max(begun_, sequence + 1);
  group_.Unpark(*this);
  if (sequence >= group_.next_sequence_) {
    early_.emplace_back(sequence, fingerprint);
  } else {
    group_.CompareCalls(rank_, sequence, fingerprint);
  }
}

void Group::Link::OnNotice(uint64_t tag, std::span<const std::byte> notice) {
  Notice told;
  if (notice.size() != sizeof(told)) {
    OnBroken(Mismatch("a notice of " + std::to_string(notice.size()) + " bytes"));
    return;
  }
  std::memcpy(&told, notice.data(), sizeof(told));
  if (told.kind == NoticeKind::kGoodbye) {
    said_goodbye_ = true;
    begun_ = std::max(begun_, Tag::Decode(tag).sequence);
    return;
  }
  group_.ReportMismatch(Tag::Decode(tag).sequence, told.rank_a, told.a, told.rank_b, told.b);
}

void Group::Link::OnBroken(const Status& why) {
  if (group_.failure_.has_value()) return;
  group_.failure_ = Status(why.code(), why.message())
                        .WithSuspectedRank(rank_)
                        .WithGeneration(group_.spec_.generation);
}

}  // namespace closeranks::collectives
