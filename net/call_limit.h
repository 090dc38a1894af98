// How often somebody may call, for each address that calls: a bucket of tokens that fills slowly.
#ifndef CLOSERANKS_NET_CALL_LIMIT_H_
#define CLOSERANKS_NET_CALL_LIMIT_H_

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>

#include "base/clock.h"
#include "net/address.h"

namespace closeranks::net {

// Addresses of one IPv6 network (/64) are one caller, as whoever has one of them has all. Holds a
// bounded number of callers: beyond it new ones share a bucket. Single-threaded.
class CallLimit {
 public:
  struct Options {
    double burst = 512;         // calls at once
    double per_second = 64;     // in the long run
    size_t max_callers = 4096;  // that are remembered
  };

  explicit CallLimit(Options options) : options_(options) {}

  // Whether `caller` may call now; then that is counted.
  bool Take(const Address& caller, TimePoint now);
  size_t callers() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens;
    TimePoint filled;
  };

  double TokensAt(const Bucket& bucket, TimePoint now) const;
  // As somebody who was never there.
  void ForgetFullOnes(TimePoint now);

  const Options options_;
  std::map<std::string, Bucket> buckets_;  // by CallerName
};

// What callers are told apart by: the address without its port, of IPv6 its network.
std::string CallerName(const Address& address);

// Who is to go when there is no room for one more: of the caller that has the most of `waiting`,
// the first. So a crowd from one address crowds out itself. At least one waits; `name_of` gives the
// CallerName of each.
template <typename List, typename NameOf>
typename List::iterator FirstOfTheBusiestCaller(List& waiting, NameOf name_of) {
  std::map<std::string, size_t> counts;
  for (const auto& each : waiting) ++counts[name_of(each)];
  const auto busiest = std::max_element(
      counts.begin(), counts.end(),
      [](const auto& one, const auto& other) { return one.second < other.second; });
  return std::find_if(waiting.begin(), waiting.end(),
                      [&](const auto& each) { return name_of(each) == busiest->first; });
}

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_CALL_LIMIT_H_
