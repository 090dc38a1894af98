#include "elastic/peer_connections.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/open_files.h"
#include "collectives/transport/shm_transport.h"
#include "collectives/transport/tcp_transport.h"
#include "glog/logging.h"
#include "net/address.h"
#include "net/preamble.h"

namespace closeranks::elastic {
namespace {

constexpr Duration kHandshakeLimit = std::chrono::seconds(5);
constexpr Duration kDialPause = std::chrono::milliseconds(20);
// Strangers can't make us hold more half-known connections than this.
constexpr size_t kMaxIntroductions = 1024;

std::string Named(const MemberProcess& process) {
  std::ostringstream out;
  out << "member " << process;
  return out.str();
}

}  // namespace

PeerConnections::PeerConnections(net::Loop& loop, net::Network& network,
                                 collectives::Engine& engine, Random& random, Options options)
    : loop_(loop),
      engine_(engine),
      options_(std::move(options)),
      network_(network),
      introductions_(loop, random, options_.self, *options_.credentials, kHandshakeLimit,
                     std::min(kMaxIntroductions, OpenFilesLimit() / 4)) {
  card_.host = options_.host;
  card_.unix_name = "closeranks-" + options_.self.process.incarnation.ToString();
  card_.data_address = options_.data_address;
}

Result<std::unique_ptr<PeerConnections>> PeerConnections::Open(net::Loop& loop,
                                                               net::Network& network,
                                                               collectives::Engine& engine,
                                                               Random& random, Options options) {
  const bool encrypt_all = options.credentials->security().encrypt_all;
  if (encrypt_all && options.only_shared_memory) {
    return InvalidArgument(
        "--transport=shm: memory that is shared can't be encrypted, as "
        "--encrypt=require wants it; use --transport=auto");
  }
  if (encrypt_all) options.shared_memory = false;
  std::unique_ptr<PeerConnections> connections(
      new PeerConnections(loop, network, engine, random, std::move(options)));
  if (encrypt_all) return connections;
  ASSIGN_OR_RETURN(connections->listener_,
                   network.Listen(net::Address::Unix(connections->card_.unix_name),
                                  [raw = connections.get()](std::unique_ptr<net::Socket> socket,
                                                            const net::Address&) {
                                    raw->Welcome(std::move(socket), /*same_host=*/true);
                                  }));
  return connections;
}

PeerConnections::~PeerConnections() {
  GiveUp();
  for (const auto& [process, next_call] : dialling_) loop_.Cancel(next_call);
}

std::string PeerConnections::Card() const { return card_.Encode(); }

void PeerConnections::Connect(const rendezvous::Decision& decision, Connected connected) {
  GiveUp();
  World world = decision.world();
  DropOutdated(world);
  world_ = world;
  attempt_ = std::make_unique<Attempt>(
      Attempt{world, decision.members, std::move(connected), net::kNoTimer});
  attempt_->limit = loop_.RunAfter(options_.limit, [this] {
    std::string missing;
    for (const MemberProcess& process : attempt_->world.ranks) {
      if (process != options_.self.process && !Reaches(process)) {
        missing += (missing.empty() ? "" : ", ") + Named(process);
      }
    }
    EndAttempt(Timeout("no connection to " + missing));
  });
  Status hosts = CheckHosts(attempt_->members);
  if (!hosts.ok() && !ever_connected_) return EndAttempt(hosts);
  DialMissing();
  EndIfConnected();
}

Status PeerConnections::CheckHosts(const std::vector<rendezvous::ListedMember>& members) const {
  if (!options_.only_shared_memory) return OkStatus();
  for (const rendezvous::ListedMember& peer : members) {
    auto card = ContactCard::Decode(peer.card);
    if (peer.worker.IsNone() || !card.ok() || card->host == card_.host) continue;
    return InvalidArgument("--transport=shm: " + Named({peer.member, peer.worker}) +
                           " is on another host, with which no memory is shared; use "
                           "--transport=auto");
  }
  return OkStatus();
}

void PeerConnections::DialMissing() {
  for (const rendezvous::ListedMember& peer : attempt_->members) {
    bool mine_to_dial = peer.member < options_.self.process.member && !peer.worker.IsNone();
    MemberProcess process{peer.member, peer.worker};
    if (!mine_to_dial || Reaches(process)) continue;
    if (dialling_.emplace(process, net::kNoTimer).second) Dial(peer);
  }
}

void PeerConnections::GiveUp() {
  if (attempt_ != nullptr) loop_.Cancel(attempt_->limit);
  attempt_.reset();
}

bool PeerConnections::Reaches(const MemberProcess& peer) const {
  auto found = connections_.find(peer);
  return found != connections_.end() && !found->second.is_lost;
}

void PeerConnections::OnPeerLost(const MemberProcess& peer, TimePoint when) {
  auto found = connections_.find(peer);
  // It may be about a connection that a newer one has taken the place of.
  if (found == connections_.end() || found->second.since > when) return;
  found->second.is_lost = true;
  if (attempt_ != nullptr) DialMissing();
}

void PeerConnections::Dial(const rendezvous::ListedMember& peer) {
  auto card = ContactCard::Decode(peer.card);
  const MemberProcess process{peer.member, peer.worker};
  if (!card.ok()) {
    LOG(ERROR) << Named(process) << " has no usable card: " << card.status();
    dialling_.erase(process);
    return;
  }
  bool same_host = options_.shared_memory && card->host == card_.host;
  net::ConnectOptions options;
  net::Address address = net::Address::Unix(card->unix_name);
  if (!same_host) {
    auto parsed = net::Address::Parse(card->data_address);
    if (!parsed.ok()) {
      LOG(ERROR) << Named(process) << " can't be reached: " << parsed.status();
      dialling_.erase(process);
      return;
    }
    address = *parsed;
    options.greeting = net::EncodePreamble({net::ConnectionRole::kData,
                                            net::HashJobName(options_.self.job),
                                            {peer.member, peer.worker},
                                            options_.self.process.member});
  }
  network_.Connect(
      address, options, [this, peer, same_host](Result<std::unique_ptr<net::Socket>> socket) {
        if (!socket.ok()) return DialAgain(peer);
        Introduce(*std::move(socket), rendezvous::Handshake::Role::kInitiator, same_host,
                  [this, peer](const Status& introduced) {
                    if (introduced.ok() || introduced.code() == StatusCode::kMismatch) {
                      dialling_.erase({peer.member, peer.worker});
                    } else {
                      DialAgain(peer);
                    }
                  });
      });
}

// The peer may not be listening yet, or be dying: again, as long as a world waits for it.
void PeerConnections::DialAgain(const rendezvous::ListedMember& peer) {
  const MemberProcess process{peer.member, peer.worker};
  dialling_[process] = loop_.RunAfter(kDialPause, [this, peer, process] {
    bool is_wanted = attempt_ != nullptr && world_.RankOf(process) >= 0 && !Reaches(process);
    if (is_wanted) {
      dialling_[process] = net::kNoTimer;
      Dial(peer);
    } else {
      dialling_.erase(process);
    }
  });
}

void PeerConnections::Welcome(std::unique_ptr<net::Socket> connection, bool same_host) {
  Introduce(std::move(connection), rendezvous::Handshake::Role::kResponder, same_host,
            [](const Status&) {});
}

void PeerConnections::Introduce(std::unique_ptr<net::Socket> connection,
                                rendezvous::Handshake::Role role, bool same_host,
                                std::function<void(const Status&)> done) {
  introductions_.Begin(
      std::move(connection), role, /*is_local=*/same_host,
      [this, same_host, done = std::move(done)](Result<rendezvous::Acquaintance> result) {
        done(OnIntroduced(std::move(result), same_host));
        EndIfConnected();
      });
}

Status PeerConnections::OnIntroduced(Result<rendezvous::Acquaintance> result, bool same_host) {
  if (!result.ok()) {
    // Strangers may call often; who is proven to differ is told of each time.
    LOG_IF(WARNING, result.status().code() == StatusCode::kMismatch) << result.status();
    LOG_IF_EVERY_N(WARNING, result.status().code() != StatusCode::kMismatch, 20)
        << "a connection was refused: " << result.status();
    // Trying again doesn't mend a difference. Who trains already goes on without the one that
    // differs.
    bool is_final = result.status().code() == StatusCode::kMismatch && !ever_connected_;
    if (is_final && mismatch_.ok()) mismatch_ = result.status();
    return result.status();
  }
  const MemberProcess peer = result->peer.process;
  // Who calls again has lost the connection before, even if that can't be seen here yet.
  Drop(peer);
  const TimePoint since = loop_.Now();
  bool shared = same_host && options_.shared_memory;
  Result<std::unique_ptr<collectives::Transport>> transport = Unavailable("none yet");
  if (shared) {
    transport = collectives::MakeShmTransport(result->connection->Release(), peer);
  } else {
    transport = collectives::MakeTcpTransport(std::move(result->connection), peer);
  }
  Status attached = transport.ok() ? engine_.Attach(**transport) : transport.status();
  if (!attached.ok()) {
    LOG(ERROR) << "no transport to " << Named(peer) << ": " << attached;
    return attached;
  }
  SharedTransport owned(transport->release(), [&engine = engine_](collectives::Transport* gone) {
    engine.Detach(*gone);
    delete gone;
  });
  const bool is_awaited = attempt_ != nullptr && world_.RankOf(peer) >= 0;
  connections_.emplace(
      peer, Connection{std::move(owned), since, is_awaited ? world_.generation : Generation{0}});
  return OkStatus();
}

// Who isn't in this world any more, and where there was a world in between that this worker wasn't
// told of, as it was cut off, everybody else: who was in that one has dropped the connection, and
// behind a cut link that can't be seen here. Who called since the last attempt ended means a world
// that this worker has yet to learn of, this one or a later one.
bool PeerConnections::IsOutdated(const MemberProcess& peer, const Connection& connection,
                                 const World& world) const {
  if (connection.is_lost) return true;
  const bool is_listed = world.RankOf(peer) >= 0;
  if (connection.listed_until == 0) return !is_listed && world_.RankOf(peer) >= 0;
  return !is_listed || connection.listed_until + 1 < world.generation;
}

void PeerConnections::DropOutdated(const World& world) {
  std::vector<MemberProcess> outdated;
  for (auto& [process, connection] : connections_) {
    if (IsOutdated(process, connection, world)) {
      outdated.push_back(process);
    } else if (world.RankOf(process) >= 0) {
      connection.listed_until = world.generation;
    }
  }
  for (const MemberProcess& process : outdated) Drop(process);
}

void PeerConnections::Drop(const MemberProcess& peer) {
  const auto found = connections_.find(peer);
  if (found == connections_.end()) return;
#ifndef CLOSERANKS_PLANT_LINE_LEFT_OPEN
  engine_.Discard(*found->second.transport);
#endif
  connections_.erase(found);
}

void PeerConnections::EndIfConnected() {
  if (attempt_ == nullptr) return;
  // Also one that showed while an earlier world was connected, or none: this worker isn't to go on
  // without whom it differs from.
  if (!mismatch_.ok()) return EndAttempt(mismatch_);
  std::vector<SharedTransport> transports;
  for (const MemberProcess& process : attempt_->world.ranks) {
    if (process == options_.self.process) {
      transports.push_back(nullptr);
      continue;
    }
    if (!Reaches(process)) return;
    transports.push_back(connections_.at(process).transport);
  }
  ever_connected_ = true;
  EndAttempt(std::move(transports));
}

void PeerConnections::EndAttempt(Result<std::vector<SharedTransport>> result) {
  std::unique_ptr<Attempt> attempt = std::move(attempt_);
  loop_.Cancel(attempt->limit);
  attempt->connected(std::move(result));
}

}  // namespace closeranks::elastic
