// A small DNS server that answers as a test tells it to, wrongly too.
#ifndef CLOSERANKS_NET_SCRIPTED_DNS_SERVER_H_
#define CLOSERANKS_NET_SCRIPTED_DNS_SERVER_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "net/address.h"
#include "net/loop.h"

namespace closeranks::net {

// On 127.0.0.1, by UDP and TCP at one port that the kernel chose. Single-threaded, on the loop,
// which outlives it.
class ScriptedDnsServer {
 public:
  enum class Type : uint16_t { kA = 1, kAaaa = 28, kSrv = 33 };
  struct Question {
    std::string name;  // without the dot at its end
    Type type = Type::kA;
    bool over_tcp = false;
  };
  struct Service {
    std::string target;
    uint16_t port = 0;
  };
  struct Reply {
    enum class Code { kOk = 0, kServerFailure = 2, kNoSuchName = 3, kRefused = 5 };
    Code code = Code::kOk;
    std::vector<std::string> addresses{};  // literals; those of the other family are left out
    std::vector<Service> services{};
    bool is_silent = false;   // no reply at all
    bool is_garbage = false;  // bytes that are no DNS message
    Duration delay{};
  };
  using Script = std::function<Reply(const Question&)>;

  ScriptedDnsServer(Loop& loop, Script script);
  ~ScriptedDnsServer();
  ScriptedDnsServer(const ScriptedDnsServer&) = delete;
  ScriptedDnsServer& operator=(const ScriptedDnsServer&) = delete;

  const Address& address() const { return address_; }
  // In the order in which they came.
  const std::vector<Question>& questions() const { return questions_; }

 private:
  struct Caller {
    UniqueFd fd;
    std::string received;
  };

  void OnDatagram();
  void OnCaller(std::list<Caller>::iterator caller);
  // The message to send back; empty: none.
  std::string Answer(const std::string& query, bool over_tcp, Duration& delay);
  void SendLater(Duration delay, std::function<void()> send);

  Loop& loop_;
  Script script_;
  Address address_;
  UniqueFd datagrams_;
  UniqueFd listener_;
  std::list<Caller> callers_;
  std::vector<Question> questions_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SCRIPTED_DNS_SERVER_H_
