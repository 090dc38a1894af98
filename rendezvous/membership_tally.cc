#include "rendezvous/membership_tally.h"

#include <utility>

namespace closeranks::rendezvous {

void Tally::Begin(const Decision& decision) {
  *this = Tally();
  members_ = decision.members.size();
  total_ = decision.TotalWeight();
  quorum_ = decision.QuorumWeight();
}

Tally::Facts Tally::Set(const ListedMember& listed, Facts facts) {
  const Facts before = std::exchange(known_[listed.member], facts);
  const Facts changed = before ^ facts;
  for (int fact = 0; fact < kFacts; ++fact) {
    if (!changed[fact]) continue;
    Sum& sum = sums_[fact];
    if (facts[fact]) {
      sum.members.insert(listed.member);
      sum.weight += listed.weight;
    } else {
      sum.members.erase(listed.member);
      sum.weight -= listed.weight;
    }
  }
  return before;
}

}  // namespace closeranks::rendezvous
