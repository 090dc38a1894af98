#include "rendezvous/membership_proposer.h"

#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {

void Proposer::Begin(Ballot ballot, Electorate electorate, std::vector<MemberProcess> newcomers,
                     TimePoint deadline) {
  *this = Proposer();
  phase_ = Phase::kPreparing;
  ballot_ = ballot;
  needed_ = electorate.needed;
  for (const auto& [voter, weight] : electorate.weights) asked_[voter].weight = weight;
  for (const MemberProcess& newcomer : newcomers) asked_.try_emplace(newcomer);
  unanswered_ = Asked();
  deadline_ = deadline;
}

std::set<MemberProcess> Proposer::Asked() const {
  std::set<MemberProcess> asked;
  for (const auto& [process, voice] : asked_) asked.insert(asked.end(), process);
  return asked;
}

bool Proposer::HasPromise(const MemberProcess& from) const {
  auto found = asked_.find(from);
  return found != asked_.end() && found->second.promise.has_value();
}

bool Proposer::AddPromise(const MemberProcess& from, const PromiseMessage& promise) {
  if (phase_ == Phase::kIdle || promise.ballot != ballot_) return false;
  auto found = asked_.find(from);
  if (found == asked_.end() || found->second.promise.has_value()) return false;
  Voice& voice = found->second;
  voice.promise = promise;
  promised_weight_ += voice.weight;
  // A late voter is then asked for its vote.
  if (phase_ == Phase::kPreparing || voice.weight == 0) unanswered_.erase(from);
  return true;
}

bool Proposer::AddAccepted(const MemberProcess& from, Ballot ballot) {
  if (phase_ != Phase::kAccepting || ballot != ballot_) return false;
  auto found = asked_.find(from);
  if (found == asked_.end() || found->second.weight == 0 || found->second.accepted) return false;
  found->second.accepted = true;
  accepted_weight_ += found->second.weight;
  unanswered_.erase(from);
  return true;
}

void Proposer::BeginAccepting(DecisionRef value, TimePoint deadline) {
  CHECK(phase_ == Phase::kPreparing && HasPromises());
  phase_ = Phase::kAccepting;
  value_ = std::move(value);
  deadline_ = deadline;
  for (const auto& [process, voice] : asked_) {
    if (voice.weight > 0) unanswered_.insert(process);
  }
}

bool Proposer::AnyUnanswered(const std::function<bool(const MemberProcess&)>& predicate) {
  if (unanswered_.contains(waited_for_) && predicate(waited_for_)) return true;
  for (const MemberProcess& process : unanswered_) {
    if (!predicate(process)) continue;
    waited_for_ = process;
    return true;
  }
  return false;
}

std::vector<Answer> Proposer::AnswersOf(bool voters_only) const {
  std::vector<Answer> answers;
  for (const auto& [from, voice] : asked_) {
    if (!voice.promise.has_value() || (voters_only && voice.weight == 0)) continue;
    answers.push_back({from, *voice.promise});
  }
  return answers;
}

std::vector<Answer> Proposer::VoterAnswers() const { return AnswersOf(true); }
std::vector<Answer> Proposer::Answers() const { return AnswersOf(false); }

}  // namespace closeranks::rendezvous
