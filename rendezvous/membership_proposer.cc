#include "rendezvous/membership_proposer.h"

#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {

void Proposer::Begin(Ballot ballot, Electorate electorate, std::vector<MemberProcess> newcomers,
                     TimePoint deadline) {
  *this = Proposer();
  phase_ = Phase::kPreparing;
  ballot_ = ballot;
  electorate_ = std::move(electorate);
  for (const auto& [voter, weight] : electorate_.weights) asked_.push_back(voter);
  asked_.insert(asked_.end(), newcomers.begin(), newcomers.end());
  deadline_ = deadline;
}

bool Proposer::AddPromise(const MemberProcess& from, const PromiseMessage& promise) {
  if (phase_ == Phase::kIdle || promise.ballot != ballot_) return false;
  bool asked = false;
  for (const MemberProcess& process : asked_) asked |= process == from;
  return asked && promises_.emplace(from, promise).second;
}

bool Proposer::AddAccepted(const MemberProcess& from, Ballot ballot) {
  if (phase_ != Phase::kAccepting || ballot != ballot_) return false;
  return accepted_.insert(from).second;
}

void Proposer::BeginAccepting(DecisionRef value, TimePoint deadline) {
  CHECK(phase_ == Phase::kPreparing && HasPromises());
  phase_ = Phase::kAccepting;
  value_ = std::move(value);
  deadline_ = deadline;
}

bool Proposer::IsQuorum(const std::function<bool(const MemberProcess&)>& has_voted) const {
  int weight = 0;
  for (const auto& [voter, votes] : electorate_.weights) {
    if (has_voted(voter)) weight += votes;
  }
  return weight >= electorate_.needed;
}

bool Proposer::HasPromises() const {
  return IsQuorum([this](const MemberProcess& voter) { return promises_.contains(voter); });
}

bool Proposer::HasAccepted() const {
  return phase_ == Phase::kAccepting &&
         IsQuorum([this](const MemberProcess& voter) { return accepted_.contains(voter); });
}

std::vector<MemberProcess> Proposer::Unanswered() const {
  std::vector<MemberProcess> unanswered;
  for (const MemberProcess& process : asked_) {
    bool answered = promises_.contains(process);
    if (phase_ == Phase::kAccepting && answered && electorate_.weights.contains(process)) {
      answered = accepted_.contains(process);
    }
    if (!answered) unanswered.push_back(process);
  }
  return unanswered;
}

std::vector<Answer> Proposer::VoterAnswers() const {
  std::vector<Answer> answers;
  for (const auto& [from, promise] : promises_) {
    if (electorate_.weights.contains(from)) answers.push_back({from, promise});
  }
  return answers;
}

std::vector<Answer> Proposer::Answers() const {
  std::vector<Answer> answers;
  for (const auto& [from, promise] : promises_) answers.push_back({from, promise});
  return answers;
}

}  // namespace closeranks::rendezvous
