// What agents say to each other about membership, and its wire format.
//
// Plain values. Decode() survives any bytes; what it returns is well formed (lists are sorted,
// decisions are valid), but not necessarily true.
#ifndef CLOSERANKS_RENDEZVOUS_MESSAGES_H_
#define CLOSERANKS_RENDEZVOUS_MESSAGES_H_

#include <compare>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/batch_part.h"
#include "base/clock.h"
#include "base/member.h"
#include "base/status.h"
#include "rendezvous/decision.h"

namespace closeranks::rendezvous {

inline constexpr size_t kMaxCauseBytes = 1024;
// A stack has many lines.
inline constexpr size_t kMaxNoticeBytes = 16384;

// A proposer's attempt. Rounds start at 1; {0, ...} is before any. The incarnation keeps apart the
// attempts of two processes of one member, which can both try to make generation 1.
struct Ballot {
  uint64_t round = 0;
  MemberId proposer = -1;
  Incarnation supervisor;
  auto operator<=>(const Ballot&) const = default;
  bool IsNone() const { return round == 0; }
};

// What an agent says about itself, in a Status to everybody and in a Promise to a proposer.
struct AgentReport {
  Incarnation worker;    // none: no worker, or none that is ready
  bool witness = false;  // never has a worker
  bool leaving = false;
  bool entered = false;  // the worker was installed in the sender's generation, and has caught up
  bool done = false;     // the worker has applied the job's last step
  // The worker reported a broken link in the sender's generation.
  bool wants_generation = false;
  bool freezing = false;  // the worker was told to stop for a ballot, and is in an update yet
  // Ascending: listed members that it counts on hearing (see membership_watch.cc) and has no link
  // to that works both ways.
  std::vector<MemberId> lacks;
  bool operator==(const AgentReport&) const = default;
};

// The heartbeat, sent at once to the watchers when something in it changes.
struct StatusMessage {
  uint64_t sequence = 0;  // counts what this agent sent, so that a late one is known to be late
  AgentReport agent;
  // The sender promised a ballot for the generation after this one: there is no way back from that.
  bool promised_next = false;
  // The sender knows that a quorum of its generation's voters has stored it.
  bool installed = false;
  // About the receiver: that the sender counts on hearing it, and that it does hear it.
  bool watches = false;
  bool hears = false;
  bool operator==(const StatusMessage&) const = default;
};

// All that follow are about the generation after Message::generation.
struct PrepareMessage {
  Ballot ballot;
  bool operator==(const PrepareMessage&) const = default;
};

struct AcceptedValue {
  Ballot ballot;
  DecisionRef value;
};

// From a voter it binds: it answers no lower ballot, and its worker has stopped for good. From who
// is not listed it only says what could be listed.
struct PromiseMessage {
  Ballot ballot;
  std::optional<AcceptedValue> accepted;
  AgentReport agent;
  std::string card;
  Terms terms;                       // of the worker
  std::optional<WorkerState> state;  // of the stopped worker; none: it has nothing to go on from
  Duration started{};                // MembershipOptions::started
};

struct RejectMessage {
  Ballot ballot;    // the one that is refused
  Ballot promised;  // because of this one
  bool operator==(const RejectMessage&) const = default;
};

struct AcceptMessage {
  Ballot ballot;
  DecisionRef value;
};

struct AcceptedMessage {
  Ballot ballot;
  bool operator==(const AcceptedMessage&) const = default;
};

// A decision that was made. To know it is to have stored it; the answer is a Status.
struct DecidedMessage {
  DecisionRef decision;
};

// The sender's worker is lost, or about to be, and why: for people. The membership has no part in
// it.
struct LossMessage {
  std::string cause;  // at most kMaxCauseBytes
  Incarnation worker;
  BatchPart part;  // that it failed by itself on; none: on no part, or not by itself
  bool operator==(const LossMessage&) const = default;
};

// What the sender's worker has noticed about itself, which is no loss: for people too.
struct NoticeMessage {
  std::string text;  // at most kMaxNoticeBytes
  bool operator==(const NoticeMessage&) const = default;
};

using MessageBody =
    std::variant<StatusMessage, PrepareMessage, PromiseMessage, RejectMessage, AcceptMessage,
                 AcceptedMessage, DecidedMessage, LossMessage, NoticeMessage>;

struct Message {
  MemberProcess from;         // incarnation: the supervisor's
  Incarnation to;             // the supervisor that it is meant for; none: whoever runs that member
  Incarnation lineage;        // of the newest decision that the sender knows; none before the first
  Generation generation = 0;  // that decision's number
  MessageBody body;
};

std::string Encode(const Message& message);
// kInvalidArgument for bytes that no Encode() of this version wrote.
Result<Message> DecodeMessage(std::string_view bytes);

// "Prepare", ...
std::string_view KindName(const Message& message);
std::ostream& operator<<(std::ostream& out, const Ballot& ballot);

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MESSAGES_H_
