// What a proposer proposes: a pure function of the generation it starts from and of the answers to
// its ballot. Returns a decision, or the reason why there can't be one yet.
#ifndef CLOSERANKS_RENDEZVOUS_MEMBERSHIP_VALUE_H_
#define CLOSERANKS_RENDEZVOUS_MEMBERSHIP_VALUE_H_

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/member.h"
#include "rendezvous/decision.h"
#include "rendezvous/messages.h"

namespace closeranks::rendezvous {

struct Answer {
  MemberProcess from;
  PromiseMessage promise;
};

struct Choice {
  DecisionRef value;        // null: hold
  std::string hold_reason;  // why
};

// The value that these answers oblige to: the one accepted under the highest ballot. Only answers
// of voters may be given. Null: none, or a generation 1 that ends by a mismatch and doesn't list
// all of these voters.
DecisionRef ObligedValue(const std::vector<Answer>& voters);

// A fresh generation 1, of all starting members. `answers` are from all of them. As long as nothing
// was trained, workers that differ in their terms are the end of the job: whichever of them went on
// alone would not be what the user asked for, and nothing is lost by ending.
Choice FirstValue(const std::vector<Answer>& answers, const Incarnation& lineage);

// A fresh value after `base`, listing only who is in `answers` (of voters and of who wants in).
Choice NextValue(const Decision& base, const std::vector<Answer>& answers);

// Of the members that have the history, the one that isn't replaced by a newer process of its own
// now, so that the history isn't lost: somebody for whom none is there, else the lowest. -1: nobody
// has it.
MemberId WhoKeeps(const std::set<MemberId>& have_it,
                  const std::function<bool(MemberId)>& has_successor);

// The members of a largest set of nodes between no two of which a link is cut.
struct Node {
  MemberId member = -1;
  bool has_worker = false;
  bool is_listed = false;
  bool is_holder = false;
};
// Indices into `nodes`, ascending: mutually connected, with a holder; as many workers as possible,
// of these as many as possible who are listed already (so that nobody is swapped for nothing), then
// as many nodes as possible, then the lowest members. Empty: no node is a holder. `nodes` are in
// ascending order of member; a cut is a pair of indices, either of which may stand first. Exact for
// up to 24 nodes that lack some link, else greedy.
std::vector<int> LargestConnectedSet(const std::vector<Node>& nodes,
                                     const std::vector<std::pair<int, int>>& cuts);

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_MEMBERSHIP_VALUE_H_
