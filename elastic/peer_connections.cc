#include "elastic/peer_connections.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "collectives/transport/shm_transport.h"
#include "collectives/transport/tcp_transport.h"
#include "glog/logging.h"
#include "net/address.h"
#include "net/preamble.h"

namespace closeranks::elastic {
namespace {

constexpr Duration kHandshakeLimit = std::chrono::seconds(5);
// Strangers can't make us hold more half-known connections than this.
constexpr size_t kMaxIntroductions = 1024;

std::string Named(const MemberProcess& process) {
  std::ostringstream out;
  out << "member " << process;
  return out.str();
}

}  // namespace

PeerConnections::PeerConnections(net::EventLoop& loop, collectives::Engine& engine, Random& random,
                                 Options options)
    : loop_(loop),
      engine_(engine),
      random_(random),
      options_(std::move(options)),
      network_(loop) {
  card_.host = ThisHost();
  card_.unix_name = "closeranks-" + options_.self.process.incarnation.ToString();
  card_.data_address = options_.data_address;
}

Result<std::unique_ptr<PeerConnections>> PeerConnections::Open(net::EventLoop& loop,
                                                               collectives::Engine& engine,
                                                               Random& random, Options options) {
  std::unique_ptr<PeerConnections> connections(
      new PeerConnections(loop, engine, random, std::move(options)));
  ASSIGN_OR_RETURN(
      connections->listener_,
      connections->network_.ListenFd(
          net::Address::Unix(connections->card_.unix_name),
          [raw = connections.get()](UniqueFd fd, const net::Address&) {
            raw->Welcome(std::move(fd), /*same_host=*/true);
          }));
  return connections;
}

PeerConnections::~PeerConnections() {
  if (attempt_ != nullptr) loop_.Cancel(attempt_->limit);
}

std::string PeerConnections::Card() const { return card_.Encode(); }

void PeerConnections::Connect(const rendezvous::Decision& decision, Connected connected) {
  if (attempt_ != nullptr) loop_.Cancel(attempt_->limit);
  World world = decision.world();
  DropUnlisted(world);
  world_ = world;
  attempt_ = std::make_unique<Attempt>(Attempt{world, std::move(connected), net::kNoTimer});
  attempt_->limit = loop_.RunAfter(options_.limit, [this] {
    std::string missing;
    for (const MemberProcess& process : attempt_->world.ranks) {
      if (process != options_.self.process && !transports_.contains(process)) {
        missing += (missing.empty() ? "" : ", ") + Named(process);
      }
    }
    EndAttempt(Timeout("no connection to " + missing));
  });
  for (const rendezvous::ListedMember& peer : decision.members) {
    bool mine_to_dial = peer.member < options_.self.process.member && !peer.worker.IsNone();
    if (mine_to_dial && !transports_.contains({peer.member, peer.worker})) Dial(peer);
  }
  EndIfConnected();
}

void PeerConnections::Dial(const rendezvous::ListedMember& peer) {
  auto card = ContactCard::Decode(peer.card);
  if (!card.ok()) {
    LOG(ERROR) << Named({peer.member, peer.worker}) << " has no usable card: " << card.status();
    return;
  }
  bool same_host = options_.shared_memory && card->host == card_.host;
  net::ConnectOptions options;
  net::Address address = net::Address::Unix(card->unix_name);
  if (!same_host) {
    auto parsed = net::Address::Parse(card->data_address);
    if (!parsed.ok()) {
      LOG(ERROR) << Named({peer.member, peer.worker}) << " can't be reached: " << parsed.status();
      return;
    }
    address = *parsed;
    options.greeting = net::EncodePreamble({net::ConnectionRole::kData,
                                            net::HashJobName(options_.self.job),
                                            {peer.member, peer.worker},
                                            options_.self.process.member});
  }
  Generation generation = world_.generation;
  network_.ConnectFd(address, options, [this, peer, same_host, generation](Result<UniqueFd> fd) {
    if (world_.generation != generation) return;
    if (fd.ok()) {
      Introduce(*std::move(fd), rendezvous::Handshake::Role::kInitiator, same_host);
      return;
    }
    // The peer may not be listening yet, or be dying: try again until the attempt's limit.
    loop_.RunAfter(std::chrono::milliseconds(20), [this, peer, generation] {
      bool still_missing = attempt_ != nullptr && world_.generation == generation &&
                           !transports_.contains({peer.member, peer.worker});
      if (still_missing) Dial(peer);
    });
  });
}

void PeerConnections::Welcome(UniqueFd connection, bool same_host) {
  if (introductions_.size() >= kMaxIntroductions) return;
  Introduce(std::move(connection), rendezvous::Handshake::Role::kResponder, same_host);
}

void PeerConnections::Introduce(UniqueFd connection, rendezvous::Handshake::Role role,
                                bool same_host) {
  introductions_.emplace_back();
  auto place = std::prev(introductions_.end());
  *place = std::make_unique<rendezvous::Introduction>(
      loop_, std::move(connection), role, options_.self, options_.key, random_, kHandshakeLimit,
      [this, place, same_host](Result<rendezvous::Acquaintance> result) {
        introductions_.erase(place);
        OnIntroduced(std::move(result), same_host);
      });
}

void PeerConnections::OnIntroduced(Result<rendezvous::Acquaintance> result, bool same_host) {
  if (!result.ok()) {
    LOG(WARNING) << "a connection was refused: " << result.status();
    // Trying again doesn't mend a difference: the run must end with it.
    if (result.status().code() == StatusCode::kMismatch && attempt_ != nullptr) {
      EndAttempt(result.status());
    }
    return;
  }
  const MemberProcess peer = result->peer.process;
  if (transports_.contains(peer)) return;  // a second connection of a retry
  bool shared = same_host && options_.shared_memory;
  auto transport = shared
                       ? collectives::MakeShmTransport(std::move(result->connection), peer)
                       : collectives::MakeTcpTransport(std::move(result->connection), peer);
  Status attached = transport.ok() ? engine_.Attach(**transport) : transport.status();
  if (!attached.ok()) {
    LOG(ERROR) << "no transport to " << Named(peer) << ": " << attached;
    return;
  }
  transports_.emplace(peer, SharedTransport(transport->release(),
                                            [&engine = engine_](collectives::Transport* gone) {
                                              engine.Detach(*gone);
                                              delete gone;
                                            }));
  EndIfConnected();
}

// Who was in the last world and isn't in this one is dropped. Who was in neither may belong to a
// generation that this worker has yet to learn of.
void PeerConnections::DropUnlisted(const World& world) {
  for (const MemberProcess& process : world_.ranks) {
    if (world.RankOf(process) >= 0) continue;
    transports_.erase(process);
  }
  // A connection that broke is of no use to any generation.
  std::erase_if(transports_, [](auto& entry) { return !entry.second->failure().ok(); });
}

void PeerConnections::EndIfConnected() {
  if (attempt_ == nullptr) return;
  std::vector<SharedTransport> transports;
  for (const MemberProcess& process : attempt_->world.ranks) {
    if (process == options_.self.process) {
      transports.push_back(nullptr);
      continue;
    }
    auto found = transports_.find(process);
    if (found == transports_.end()) return;
    transports.push_back(found->second);
  }
  EndAttempt(std::move(transports));
}

void PeerConnections::EndAttempt(Result<std::vector<SharedTransport>> result) {
  std::unique_ptr<Attempt> attempt = std::move(attempt_);
  loop_.Cancel(attempt->limit);
  attempt->connected(std::move(result));
}

}  // namespace closeranks::elastic
