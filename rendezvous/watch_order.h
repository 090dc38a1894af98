// The order in which members are to watch all others, the same for everybody.
#ifndef CLOSERANKS_RENDEZVOUS_WATCH_ORDER_H_
#define CLOSERANKS_RENDEZVOUS_WATCH_ORDER_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/member.h"

namespace closeranks::rendezvous {

// Lower watches first: a member's number with its bits the other way round, so 0, 8, 4, 12, 2, ...
// of 16. Neighbours, which are often lost together (a rack, a zone), hold no more of the watchers
// than their share; and who comes or goes moves nobody else's place.
inline uint32_t WatchOrder(MemberId member) {
  auto bits = static_cast<uint32_t>(member);
  bits = (bits >> 16) | (bits << 16);
  bits = (bits >> 8 & 0x00ff00ff) | (bits & 0x00ff00ff) << 8;
  bits = (bits >> 4 & 0x0f0f0f0f) | (bits & 0x0f0f0f0f) << 4;
  bits = (bits >> 2 & 0x33333333) | (bits & 0x33333333) << 2;
  return (bits >> 1 & 0x55555555) | (bits & 0x55555555) << 1;
}

// Gives members in that order, one by one: only the first few are ever wanted of many.
class WatchLine {
 public:
  explicit WatchLine(std::vector<MemberId> members) : left_(std::move(members)) {
    std::make_heap(left_.begin(), left_.end(), IsLater);
  }

  bool empty() const { return left_.empty(); }
  MemberId Next() {
    std::pop_heap(left_.begin(), left_.end(), IsLater);
    const MemberId next = left_.back();
    left_.pop_back();
    return next;
  }

 private:
  static bool IsLater(MemberId one, MemberId other) { return WatchOrder(one) > WatchOrder(other); }

  std::vector<MemberId> left_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_WATCH_ORDER_H_
