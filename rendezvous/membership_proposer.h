// One attempt to make a generation: who was asked, who answered, and what is being voted on. Holds
// the attempt's state; when to begin and what to send is Membership's.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PROPOSER_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PROPOSER_H_

#include <functional>
#include <map>
#include <optional>
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
  // The attempt's phase lasts longer.
  void Extend(TimePoint deadline) { deadline_ = deadline; }
  void BeginAccepting(DecisionRef value, TimePoint deadline);

  bool HasPromise(const MemberProcess& from) const;
  bool HasPromises() const { return promised_weight_ >= needed_; }  // of a quorum
  bool HasAccepted() const { return phase_ == Phase::kAccepting && accepted_weight_ >= needed_; }
  // Who was asked and didn't answer, in this phase.
  const std::set<MemberProcess>& Unanswered() const { return unanswered_; }
  // Whether it is so of any of these. Cheap while it stays so of the same one.
  bool AnyUnanswered(const std::function<bool(const MemberProcess&)>& predicate);
  std::vector<Answer> VoterAnswers() const;
  std::vector<Answer> Answers() const;

  Phase phase() const { return phase_; }
  bool active() const { return phase_ != Phase::kIdle; }
  Ballot ballot() const { return ballot_; }
  const DecisionRef& value() const { return value_; }
  std::set<MemberProcess> Asked() const;
  TimePoint deadline() const { return deadline_; }
  TimePoint next_resend = kNever;

 private:
  struct Voice {
    int weight = 0;  // none: it has no vote
    bool accepted = false;
    std::optional<PromiseMessage> promise;
  };
  std::vector<Answer> AnswersOf(bool voters_only) const;

  Phase phase_ = Phase::kIdle;
  Ballot ballot_;
  std::map<MemberProcess, Voice> asked_;
  std::set<MemberProcess> unanswered_;
  MemberProcess waited_for_;  // by AnyUnanswered
  int needed_ = 0;
  int promised_weight_ = 0;
  int accepted_weight_ = 0;
  DecisionRef value_;
  TimePoint deadline_ = kNever;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_PROPOSER_H_
