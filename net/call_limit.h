// How often somebody may call, for each address that calls: a bucket of tokens that fills slowly.
#ifndef CLOSERANKS_NET_CALL_LIMIT_H_
#define CLOSERANKS_NET_CALL_LIMIT_H_

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

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_CALL_LIMIT_H_
