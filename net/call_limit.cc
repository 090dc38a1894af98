#include "net/call_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

namespace closeranks::net {
namespace {

constexpr size_t kNetworkBytes = 8;
// Whoever comes when there is no room for one more.
constexpr char kOthers[] = "others";

}  // namespace

std::string CallerName(const Address& address) {
  in6_addr v6;
  const std::string literal = address.host.substr(0, address.host.find('%'));
  if (inet_pton(AF_INET6, literal.c_str(), &v6) != 1) return address.host;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return literal.substr(literal.rfind(':') + 1);
  return {reinterpret_cast<const char*>(v6.s6_addr), kNetworkBytes};
}

bool CallLimit::Take(const Address& caller, TimePoint now) {
  std::string name = CallerName(caller);
  if (!buckets_.contains(name) && buckets_.size() >= options_.max_callers) {
    ForgetFullOnes(now);
    if (buckets_.size() >= options_.max_callers) name = kOthers;
  }
  Bucket& bucket = buckets_.try_emplace(name, options_.burst, now).first->second;
  bucket.tokens = TokensAt(bucket, now);
  bucket.filled = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

double CallLimit::TokensAt(const Bucket& bucket, TimePoint now) const {
  const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
  return std::min(options_.burst, bucket.tokens + seconds * options_.per_second);
}

void CallLimit::ForgetFullOnes(TimePoint now) {
  std::erase_if(buckets_, [this, now](const auto& entry) {
    return TokensAt(entry.second, now) >= options_.burst;
  });
}

}  // namespace closeranks::net
