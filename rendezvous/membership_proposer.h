// One attempt to make a generation: who was asked, who answered, and what is being voted on. Holds
// the attempt's state; when to begin and what to send is Membership's.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PROPOSER_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PROPOSER_H_

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/clock.h"
#include "rendezvous/membership_value.h"
#include "rendezvous/messages.h"

namespace closeranks::rendezvous {

class Proposer {
 public:
  enum class Phase { kIdle, kPreparing, kAccepting };

  // The voters of the attempt and what their votes weigh. For generation 1 everyone's vote is
  // needed.
  struct Electorate {
    std::map<MemberProcess, int> weights;
    int needed = 0;
  };

  void Begin(Ballot ballot, Electorate electorate, std::vector<MemberProcess> newcomers,
             TimePoint deadline);
  void Abandon() { *this = Proposer(); }
  // An answer to the current ballot; false when it is of no use (another ballot, unasked,
  // repeated).
  bool AddPromise(const MemberProcess& from, const PromiseMessage& promise);
  bool AddAccepted(const MemberProcess& from, Ballot ballot);
  void BeginAccepting(DecisionRef value, TimePoint deadline);

  bool HasPromise(const MemberProcess& from) const { return promises_.contains(from); }
  bool HasPromises() const;  // of a quorum
  bool HasAccepted() const;
  // Who was asked and didn't answer, in this phase.
  std::vector<MemberProcess> Unanswered() const;
  std::vector<Answer> VoterAnswers() const;
  std::vector<Answer> Answers() const;

  Phase phase() const { return phase_; }
  bool active() const { return phase_ != Phase::kIdle; }
  Ballot ballot() const { return ballot_; }
  const DecisionRef& value() const { return value_; }
  const std::vector<MemberProcess>& asked() const { return asked_; }
  const std::vector<Incarnation>& starters() const { return starters_; }
  void set_starters(std::vector<Incarnation> starters) { starters_ = std::move(starters); }
  TimePoint deadline() const { return deadline_; }
  TimePoint next_resend = kNever;

 private:
  bool IsQuorum(const std::function<bool(const MemberProcess&)>& has_voted) const;

  Phase phase_ = Phase::kIdle;
  Ballot ballot_;
  Electorate electorate_;
  std::vector<MemberProcess> asked_;
  std::vector<Incarnation> starters_;
  std::map<MemberProcess, PromiseMessage> promises_;
  std::set<MemberProcess> accepted_;
  DecisionRef value_;
  TimePoint deadline_ = kNever;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PROPOSER_H_
