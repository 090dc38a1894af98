#include "net/simulated_network.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

// After which a request to connect that got lost is sent again.
constexpr Duration kRequestAgain = std::chrono::milliseconds(200);
constexpr uint16_t kFirstFreePort = 32768;

}  // namespace

class SimulatedListener final : public Listener {
 public:
  SimulatedListener(SimulatedFabric& fabric, SimulatedNetwork& network, SimulatedProcess& process,
                    const Address& key, const Address& address, Network::AcceptCallback on_accept)
      : network(network),
        process(process),
        on_accept(std::make_shared<Network::AcceptCallback>(std::move(on_accept))),
        fabric_(fabric),
        key_(key),
        address_(address) {
    fabric_.listeners_[key_] = this;
  }
  ~SimulatedListener() override {
    // Its port may belong to another by now, if its process died before.
    const auto found = fabric_.listeners_.find(key_);
    if (found != fabric_.listeners_.end() && found->second == this) fabric_.listeners_.erase(found);
  }

  const Address& address() const override { return address_; }

  bool IsAlive() const { return process.state() != SimulatedProcess::State::kDead; }

  SimulatedNetwork& network;
  SimulatedProcess& process;
  const std::shared_ptr<Network::AcceptCallback> on_accept;

 private:
  SimulatedFabric& fabric_;
  const Address key_;
  const Address address_;
};

SimulatedNetwork::SimulatedNetwork(SimulatedFabric& fabric, SimulatedProcess& process,
                                   std::string host)
    : fabric_(fabric), process_(process), host_(std::move(host)) {
  fabric_.networks_.insert(this);
}

SimulatedNetwork::~SimulatedNetwork() {
  while (!connecting_.empty()) Cancel(connecting_.begin()->first);
  for (const auto& [id, arriving] : arriving_) process_.Cancel(arriving.timer);
  fabric_.networks_.erase(this);
}

Address SimulatedNetwork::KeyOf(const Address& address, const std::string& host) const {
  Address key = address;
  key.host = host;
  return key;
}

bool SimulatedNetwork::HasLivingProcess(const std::string& host) const {
  for (const SimulatedNetwork* network : fabric_.networks_) {
    if (network->host_ == host && network->process_.state() != SimulatedProcess::State::kDead) {
      return true;
    }
  }
  return false;
}

Result<std::unique_ptr<Listener>> SimulatedNetwork::Listen(const Address& address,
                                                           AcceptCallback on_accept) {
  const bool is_mine = address.IsUnix() || address.host == host_ || address.host == "0.0.0.0" ||
                       address.host == "::";
  if (!is_mine) {
    return InvalidArgument("listening on " + address.ToString() +
                           ": no interface of this host has that address");
  }
  const auto is_taken = [this](const Address& key) {
    const auto found = fabric_.listeners_.find(key);
    return found != fabric_.listeners_.end() && found->second->IsAlive();
  };
  Address key = KeyOf(address, host_);
  if (!address.IsUnix() && address.port == 0) {
    key.port = kFirstFreePort;
    while (is_taken(key)) ++key.port;
  }
  if (is_taken(key)) {
    return ResourceExhausted("listening on " + address.ToString() + ": port " +
                             std::to_string(key.port) +
                             " is taken by another process; end that one or choose another");
  }
  const Address shown = address.IsUnix() ? address : key;
  return std::unique_ptr<Listener>(std::make_unique<SimulatedListener>(
      fabric_, *this, process_, key, shown, std::move(on_accept)));
}

ConnectId SimulatedNetwork::Connect(const Address& address, ConnectOptions options,
                                    ConnectCallback on_connected) {
  CHECK_LE(options.greeting.size(), kMaxGreeting);
  const ConnectId id = next_connect_++;
  Connecting& connecting = connecting_[id];
  connecting.address = address;
  connecting.greeting = std::move(options.greeting);
  connecting.on_connected = std::move(on_connected);
  connecting.limit = process_.RunAfter(options.timeout, [this, id, limit = options.timeout] {
    const Address& address = connecting_.at(id).address;
    End(id, Timeout("connecting to " + address.ToString() + ": no answer within " +
                    std::to_string(std::lround(ToMilliseconds(limit))) + " ms"));
  });
  const std::string& to = address.IsUnix() ? host_ : address.host;
  SendRequest(id, fabric_.DrawDelay(host_, to));
  return id;
}

void SimulatedNetwork::SendRequest(ConnectId id, Duration wait) {
  connecting_.at(id).request = fabric_.world().RunAfter(wait, [this, id] { OnRequestArrives(id); });
}

void SimulatedNetwork::OnRequestArrives(ConnectId id) {
  Connecting& connecting = connecting_.at(id);
  connecting.request = kNoTimer;
  if (process_.state() == SimulatedProcess::State::kDead) return;
  const std::string to = connecting.address.IsUnix() ? host_ : connecting.address.host;
  if (!fabric_.CanConnect(host_, to) || !HasLivingProcess(to)) {
    return SendRequest(id, kRequestAgain);
  }
  const Duration back = fabric_.DrawDelay(to, host_);
  const Address key = KeyOf(connecting.address, to);
  const auto found = fabric_.listeners_.find(key);
  if (found == fabric_.listeners_.end() || !found->second->IsAlive()) {
    connecting.answer = process_.RunAfter(back, [this, id] {
      const std::string where = connecting_.at(id).address.ToString();
      End(id, Unavailable("connecting to " + where + ": Connection refused"));
    });
    return;
  }
  SimulatedListener& listener = *found->second;
  const auto connection = fabric_.MakeConnection(host_, to);
  connection->passes_sockets = connecting.address.IsUnix();
  connecting.socket = std::make_unique<SimulatedSocket>(fabric_, process_, connection, 0);
  auto other_end = std::make_unique<SimulatedSocket>(fabric_, listener.process, connection, 1);
  connecting.answer = process_.RunAfter(back, [this, id] { End(id, OkStatus()); });
  listener.network.Admit(key, std::move(other_end), back + fabric_.DrawDelay(host_, to));
}

// The kernel has taken the connection; the process hears of it after `wait`, if it still listens.
void SimulatedNetwork::Admit(const Address& key, std::unique_ptr<SimulatedSocket> socket,
                             Duration wait) {
  const uint64_t id = next_arriving_++;
  Arriving& arriving = arriving_[id];
  arriving.socket = std::move(socket);
  arriving.timer = process_.RunAfter(wait, [this, id, key] {
    auto node = arriving_.extract(id);
    const auto found = fabric_.listeners_.find(key);
    if (found == fabric_.listeners_.end() || &found->second->network != this) return;
    const std::shared_ptr<AcceptCallback> on_accept = found->second->on_accept;
    std::unique_ptr<SimulatedSocket>& socket = node.mapped().socket;
    const Address peer = key.IsUnix() ? Address() : Address::Ip(socket->peer(), kFirstFreePort);
    (*on_accept)(std::move(socket), peer);
  });
}

std::pair<std::unique_ptr<Socket>, std::unique_ptr<Socket>> SimulatedNetwork::MakePair(
    SimulatedNetwork& other) {
  CHECK_EQ(host_, other.host_);
  const auto connection = fabric_.MakeConnection(host_, host_);
  connection->passes_sockets = true;
  return {std::make_unique<SimulatedSocket>(fabric_, process_, connection, 0),
          std::make_unique<SimulatedSocket>(fabric_, other.process_, connection, 1)};
}

void SimulatedNetwork::End(ConnectId id, Status status) {
  auto node = connecting_.extract(id);
  Connecting& connecting = node.mapped();
  process_.Cancel(connecting.limit);
  process_.Cancel(connecting.answer);
  fabric_.world().Cancel(connecting.request);
  // The buffer of a connection is large enough for what is said first.
  std::string_view greeting = connecting.greeting;
  while (status.ok() && !greeting.empty()) {
    const iovec part{const_cast<char*>(greeting.data()), greeting.size()};
    const ssize_t sent = connecting.socket->Send({&part, 1}, nullptr);
    if (sent < 0) {
      status = Unavailable("connecting to " + connecting.address.ToString() + ": closed at once");
    } else {
      greeting.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // What is called may destroy this network.
  if (!status.ok()) {
    connecting.socket.reset();
    return connecting.on_connected(std::move(status));
  }
  connecting.on_connected(std::unique_ptr<Socket>(std::move(connecting.socket)));
}

void SimulatedNetwork::Cancel(ConnectId id) {
  auto node = connecting_.extract(id);
  if (node.empty()) return;
  process_.Cancel(node.mapped().limit);
  process_.Cancel(node.mapped().answer);
  fabric_.world().Cancel(node.mapped().request);
}

SimulatedResolver::~SimulatedResolver() {
  for (const auto& [id, timer] : questions_) process_.Cancel(timer);
}

void SimulatedResolver::Resolve(const Address& address, Callback callback) {
  auto find = [this, address] {
    std::vector<Address> found;
    if (const auto entry = names_.find(address.host); entry != names_.end()) {
      for (const std::string& host : entry->second) {
        found.push_back(Address::Ip(host, address.port));
      }
    } else if (address.IsNumeric()) {
      found.push_back(address);
    }
    return found;
  };
  AnswerLater(address.host, std::move(find), std::move(callback));
}

void SimulatedResolver::ResolveService(const std::string& service, const std::string& port,
                                       Callback callback) {
  const std::string name = "_" + port + "._tcp." + service;
  auto find = [this, name] {
    std::vector<Address> found;
    if (const auto entry = names_.find(name); entry != names_.end()) {
      for (const std::string& text : entry->second) found.push_back(Address::Parse(text).value());
    }
    return found;
  };
  AnswerLater(name, std::move(find), std::move(callback));
}

void SimulatedResolver::AnswerLater(const std::string& name,
                                    std::function<std::vector<Address>()> find, Callback callback) {
  if (on_question_) on_question_();
  const uint64_t id = next_question_++;
  const Duration wait =
      process_.world().DrawBetween(std::chrono::milliseconds(1), std::chrono::milliseconds(5));
  questions_[id] = process_.RunAfter(
      wait, [this, id, name, find = std::move(find), callback = std::move(callback)] {
        questions_.erase(id);
        std::vector<Address> answer = find();
        if (answer.empty()) {
          return callback(Unavailable("resolving " + name + ": Name or service not known"));
        }
        callback(std::move(answer));
      });
}

}  // namespace closeranks::net
