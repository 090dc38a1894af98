// From names to addresses, as a seam.
#ifndef CLOSERANKS_NET_RESOLVER_H_
#define CLOSERANKS_NET_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/status.h"
#include "net/address.h"
#include "net/event_loop.h"

namespace closeranks::net {

// Single-threaded, on its loop. What it says is a hint, never a proof: a name may lead to nobody,
// to two processes or to the wrong one. Connect, shake hands, and believe that.
class Resolver {
 public:
  // At least one address, all numeric and with the port of the question, in the order in which to
  // try them; or kUnavailable (there is no such name now: a pod without an IP has none).
  using Callback = std::function<void(Result<std::vector<Address>>)>;

  // No callback comes after this.
  virtual ~Resolver() = default;

  // Calls back exactly once, never from inside. Numeric and Unix addresses resolve to themselves.
  // There is no time limit that a caller could rely on.
  virtual void Resolve(const Address& address, Callback callback) = 0;
};

// Literals and "localhost" without asking anybody; other names by the system's getaddrinfo, one
// after another on a thread of its own, which its destructor doesn't wait for. A slow server (30 s
// and more) therefore delays the questions behind it; asking servers directly, in parallel and with
// the record's lifetime, is to come with c-ares, behind the same seam.
class SystemResolver final : public Resolver {
 public:
  // `loop` outlives the resolver.
  explicit SystemResolver(EventLoop& loop);
  ~SystemResolver() override;
  SystemResolver(const SystemResolver&) = delete;
  SystemResolver& operator=(const SystemResolver&) = delete;

  void Resolve(const Address& address, Callback callback) override;

 private:
  struct Shared;

  void Answer(uint64_t id, const Result<std::vector<Address>>& answer);

  EventLoop& loop_;
  uint64_t next_question_ = 1;
  std::map<uint64_t, Callback> waiting_;
  std::shared_ptr<Shared> shared_;  // with the thread, once there is one
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_RESOLVER_H_
