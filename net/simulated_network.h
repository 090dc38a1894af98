// A process's view of the simulated network, and of names in it.
#ifndef CLOSERANKS_NET_SIMULATED_NETWORK_H_
#define CLOSERANKS_NET_SIMULATED_NETWORK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/address.h"
#include "net/network.h"
#include "net/resolver.h"
#include "net/simulated_fabric.h"
#include "net/simulated_socket.h"
#include "net/simulated_world.h"

namespace closeranks::net {

// Several processes may be on one host and share its ports. To restart a process, destroy its
// objects and make new ones with the same host; order of lives: world, fabric, process, network,
// sockets.
//
// Hosts are any words, whether they look like IP addresses or not. A port at which nobody listens
// refuses; a host without a living process is silent. Over Unix sockets others can be passed.
class SimulatedNetwork final : public Network {
 public:
  SimulatedNetwork(SimulatedFabric& fabric, SimulatedProcess& process, std::string host);
  ~SimulatedNetwork() override;
  SimulatedNetwork(const SimulatedNetwork&) = delete;
  SimulatedNetwork& operator=(const SimulatedNetwork&) = delete;

  const std::string& host() const { return host_; }

  // Two connected Unix sockets, of this process and of `other`'s on the same host: what a
  // supervisor starts a worker with.
  std::pair<std::unique_ptr<Socket>, std::unique_ptr<Socket>> MakePair(SimulatedNetwork& other);

  // On this host's name, "0.0.0.0" or "::", or a Unix name, which this host's processes share.
  Result<std::unique_ptr<Listener>> Listen(const Address& address,
                                           AcceptCallback on_accept) override;
  ConnectId Connect(const Address& address, ConnectOptions options,
                    ConnectCallback on_connected) override;
  void Cancel(ConnectId id) override;

 private:
  struct Connecting {
    Address address;
    std::string greeting;
    ConnectCallback on_connected;
    TimerId limit = kNoTimer;                 // of the process
    TimerId request = kNoTimer;               // of the world: its arrival
    TimerId answer = kNoTimer;                // of the process
    std::unique_ptr<SimulatedSocket> socket;  // from the request's arrival on
  };
  struct Arriving {
    std::unique_ptr<SimulatedSocket> socket;
    TimerId timer = kNoTimer;  // of the process
  };

  Address KeyOf(const Address& address, const std::string& host) const;
  bool HasLivingProcess(const std::string& host) const;
  void SendRequest(ConnectId id, Duration wait);
  void OnRequestArrives(ConnectId id);
  void Admit(const Address& key, std::unique_ptr<SimulatedSocket> socket, Duration wait);
  void End(ConnectId id, Status status);

  SimulatedFabric& fabric_;
  SimulatedProcess& process_;
  const std::string host_;
  ConnectId next_connect_ = 1;
  std::map<ConnectId, Connecting> connecting_;
  uint64_t next_arriving_ = 1;
  std::map<uint64_t, Arriving> arriving_;
};

// Answers from a table that the test owns and may change at any time: what a headless Service says,
// old and contradictory answers included. A name without hosts is unavailable.
class SimulatedResolver final : public Resolver {
 public:
  // Hosts by name; of a service, "HOST:PORT" by "_PORT._tcp.SERVICE".
  using Names = std::map<std::string, std::vector<std::string>>;

  // Both outlive the resolver.
  SimulatedResolver(SimulatedProcess& process, const Names& names)
      : process_(process), names_(names) {}
  ~SimulatedResolver() override;

  // Called with each question.
  void set_on_question(std::function<void()> on_question) { on_question_ = std::move(on_question); }

  // A literal that isn't in the table resolves to itself. Takes 1 to 5 ms.
  void Resolve(const Address& address, Callback callback) override;
  void ResolveService(const std::string& service, const std::string& port,
                      Callback callback) override;

 private:
  void AnswerLater(const std::string& name, std::function<std::vector<Address>()> find,
                   Callback callback);

  SimulatedProcess& process_;
  const Names& names_;
  std::function<void()> on_question_;
  uint64_t next_question_ = 1;
  std::map<uint64_t, TimerId> questions_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_SIMULATED_NETWORK_H_
