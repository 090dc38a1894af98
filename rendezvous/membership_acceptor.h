// The votes of one member for one generation: the memory of a Paxos acceptor, and its two rules.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_ACCEPTOR_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_ACCEPTOR_H_

#include <optional>

#include "rendezvous/messages.h"

namespace closeranks::rendezvous {

class Acceptor {
 public:
  // Whether `ballot` may be promised. Promising the same one again is repeating an answer.
  bool MayPromise(Ballot ballot) const { return ballot >= promised_; }
  // Never withdrawn. `ballot` must be one that MayPromise.
  void Promise(Ballot ballot);

  // True when the vote is given. Only to the ballot that is promised: who never promised it may
  // have a worker that still applies steps.
  bool Accept(Ballot ballot, DecisionRef value);

  Ballot promised() const { return promised_; }
  const std::optional<AcceptedValue>& accepted() const { return accepted_; }

 private:
  Ballot promised_;
  std::optional<AcceptedValue> accepted_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_ACCEPTOR_H_
