// What is known of each listed member of a generation, summed up: so that an event costs what it
// changes, and not the size of the world.
//
// Hints, but for kStored, which is a fact. Plain values; single-threaded.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_TALLY_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_TALLY_H_

#include <array>
#include <bitset>
#include <map>
#include <set>

#include "base/member.h"
#include "rendezvous/decision.h"

namespace closeranks::rendezvous {

class Tally {
 public:
  enum Fact {
    kStored,       // it has stored this generation's decision, or a later one
    kUnreachable,  // it is counted on to be heard, and isn't
    kWorkerGone,   // its listed worker
    // What it said in this generation:
    kWantsGeneration,
    kPromisedNext,
    kDone,       // or it has no listed worker
    kLeaves,     // it wants to
    kGoes,       // it leaves, or could not go on with the job's state, being a witness
    kTakesOver,  // it has the state and stays
    kReady,      // it is listed without a worker, and has one that is ready
    kLacks,      // a link to somebody
    kFacts,
  };
  using Facts = std::bitset<kFacts>;

  // Forgets everything; from now on it is about `decision`, which outlives that.
  void Begin(const Decision& decision);
  // What is known of `listed`, instead of what was. Returns what was.
  Facts Set(const ListedMember& listed, Facts facts);

  // Of whom it is known, ascending.
  const std::set<MemberId>& Of(Fact fact) const { return sums_[fact].members; }
  bool Any(Fact fact) const { return !Of(fact).empty(); }
  bool OfAll(Fact fact) const { return Of(fact).size() == members_; }
  bool OfQuorum(Fact fact) const { return sums_[fact].weight >= quorum_; }
  // Of those of whom it isn't known: what their votes weigh, and whether they decide.
  int WeightWithout(Fact fact) const { return total_ - sums_[fact].weight; }
  bool QuorumWithout(Fact fact) const { return WeightWithout(fact) >= quorum_; }

 private:
  struct Sum {
    std::set<MemberId> members;
    int weight = 0;  // of their votes
  };

  size_t members_ = 0;
  int total_ = 0;
  int quorum_ = 0;
  std::map<MemberId, Facts> known_;
  std::array<Sum, kFacts> sums_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_TALLY_H_
