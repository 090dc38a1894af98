// LargestConnectedSet: with partial links (A and B can't reach each other, C sees both) a proposer
// has to choose, and everybody who looks at the same answers should choose the same.
#include <algorithm>
#include <tuple>

#include "rendezvous/membership_value.h"

namespace closeranks::rendezvous {
namespace {

constexpr int kMaxExact = 24;

class Search {
 public:
  Search(const std::vector<Node>& nodes, const std::vector<std::vector<bool>>& connected)
      : nodes_(nodes), connected_(connected) {}

  std::vector<int> Run() {
    std::vector<int> whole, torn;  // who reaches everybody, and who lacks a link
    for (int i = 0; i < static_cast<int>(nodes_.size()); ++i) {
      bool reaches_all = true;
      for (bool reaches : connected_[i]) reaches_all &= reaches;
      (reaches_all ? whole : torn).push_back(i);
    }
    if (static_cast<int>(torn.size()) > kMaxExact) return Greedy(whole, torn);
    Extend(whole, torn, 0);
    return best_;
  }

 private:
  // More is better, the last resort being lower members: compared in this order.
  using Score = std::tuple<int, int, int, std::vector<int>>;

  Score ScoreOf(const std::vector<int>& set) const {
    int workers = 0, listed = 0;
    std::vector<int> lower_first;
    for (int i : set) {
      workers += nodes_[i].has_worker;
      listed += nodes_[i].is_listed;
      lower_first.push_back(-i);
    }
    return {workers, listed, static_cast<int>(set.size()), std::move(lower_first)};
  }

  void Consider(std::vector<int> set) {
    bool has_holder = false;
    for (int i : set) has_holder |= nodes_[i].is_holder;
    if (!has_holder) return;
    std::sort(set.begin(), set.end());
    if (best_.empty() || ScoreOf(set) > ScoreOf(best_)) best_ = std::move(set);
  }

  // Tries `set` with and without each of torn[from...]. 2^24 at the very worst, and only for links
  // cut at random between 24 members; cuts that occur leave few mutually connected sets.
  void Extend(std::vector<int>& set, const std::vector<int>& torn, size_t from) {
    if (from == torn.size()) {
      Consider(set);
      return;
    }
    if (Fits(set, torn[from])) {
      set.push_back(torn[from]);
      Extend(set, torn, from + 1);
      set.pop_back();
      // Leaving it out only helps when it keeps somebody else out.
      bool keeps_out = false;
      for (size_t i = from + 1; i < torn.size(); ++i) keeps_out |= !connected_[torn[from]][torn[i]];
      if (!keeps_out) return;
    }
    Extend(set, torn, from + 1);
  }

  std::vector<int> Greedy(const std::vector<int>& whole, const std::vector<int>& torn) {
    // Once from each start, taking whoever fits, lowest first.
    for (size_t start = 0; start < torn.size(); ++start) {
      std::vector<int> set = whole;
      for (size_t i = 0; i < torn.size(); ++i) {
        int node = torn[(start + i) % torn.size()];
        if (Fits(set, node)) set.push_back(node);
      }
      Consider(std::move(set));
    }
    return best_;
  }

  bool Fits(const std::vector<int>& set, int node) const {
    for (int i : set) {
      if (!connected_[i][node]) return false;
    }
    return true;
  }

  const std::vector<Node>& nodes_;
  const std::vector<std::vector<bool>>& connected_;
  std::vector<int> best_;
};

}  // namespace

std::vector<int> LargestConnectedSet(const std::vector<Node>& nodes,
                                     const std::vector<std::vector<bool>>& connected) {
  return Search(nodes, connected).Run();
}

}  // namespace closeranks::rendezvous
