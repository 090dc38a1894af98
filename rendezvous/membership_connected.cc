// LargestConnectedSet: with partial links (A and B can't reach each other, C sees both) a proposer
// has to choose, and everybody who looks at the same answers should choose the same.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "rendezvous/membership_value.h"

namespace closeranks::rendezvous {
namespace {

constexpr size_t kMaxExact = 24;
constexpr size_t kMaxGreedyStarts = 64;

// Who lacks no link belongs to every set, so that only the others are searched.
class Search {
 public:
  Search(const std::vector<Node>& nodes, const std::vector<std::pair<int, int>>& cuts)
      : nodes_(nodes) {
    for (const auto& [a, b] : cuts) {
      if (a == b) continue;
      cut_[a].insert(b);
      cut_[b].insert(a);
    }
    for (const auto& [node, others] : cut_) torn_.push_back(node);
    for (int node = 0; node < static_cast<int>(nodes_.size()); ++node) {
      if (!cut_.contains(node)) whole_.push_back(node);
    }
    for (int node : whole_) whole_holds_ |= nodes_[node].is_holder;
  }

  std::vector<int> Run() {
    if (torn_.size() > kMaxExact) {
      Greedy();
    } else {
      std::vector<int> set;
      Extend(set, 0);
    }
    if (!found_) return {};
    std::vector<int> all = whole_;
    all.insert(all.end(), best_.begin(), best_.end());
    std::sort(all.begin(), all.end());
    return all;
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
    bool has_holder = whole_holds_;
    for (int i : set) has_holder |= nodes_[i].is_holder;
    if (!has_holder) return;
    std::sort(set.begin(), set.end());
    if (!found_ || ScoreOf(set) > ScoreOf(best_)) best_ = std::move(set);
    found_ = true;
  }

  // Tries `set` with and without each of torn_[from...]. 2^24 at the very worst, and only for links
  // cut at random between 24 members; cuts that occur leave few mutually connected sets.
  void Extend(std::vector<int>& set, size_t from) {
    if (from == torn_.size()) {
      Consider(set);
      return;
    }
    const int node = torn_[from];
    if (Fits(set, node)) {
      set.push_back(node);
      Extend(set, from + 1);
      set.pop_back();
      // Leaving it out only helps when it keeps somebody else out.
      const std::set<int>& others = cut_.at(node);
      if (others.upper_bound(node) == others.end()) return;
    }
    Extend(set, from + 1);
  }

  // Once from each of some starts, taking whoever fits, lowest first.
  void Greedy() {
    for (size_t start = 0; start < std::min(torn_.size(), kMaxGreedyStarts); ++start) {
      std::vector<int> set;
      std::set<int> kept_out;
      for (size_t i = 0; i < torn_.size(); ++i) {
        const int node = torn_[(start + i) % torn_.size()];
        if (kept_out.contains(node)) continue;
        set.push_back(node);
        kept_out.insert(cut_.at(node).begin(), cut_.at(node).end());
      }
      Consider(std::move(set));
    }
  }

  bool Fits(const std::vector<int>& set, int node) const {
    const std::set<int>& others = cut_.at(node);
    return std::none_of(set.begin(), set.end(), [&](int i) { return others.contains(i); });
  }

  const std::vector<Node>& nodes_;
  std::map<int, std::set<int>> cut_;
  std::vector<int> whole_, torn_, best_;
  bool whole_holds_ = false;
  bool found_ = false;
};

}  // namespace

std::vector<int> LargestConnectedSet(const std::vector<Node>& nodes,
                                     const std::vector<std::pair<int, int>>& cuts) {
  return Search(nodes, cuts).Run();
}

}  // namespace closeranks::rendezvous
