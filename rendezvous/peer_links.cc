#include "rendezvous/peer_links.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "net/preamble.h"

namespace closeranks::rendezvous {
namespace {

// Strangers can't make us hold more half-known connections than this.
constexpr size_t kMaxIntroductions = 256;

}  // namespace

PeerLinks::PeerLinks(net::EventLoop& loop, net::SocketNetwork& network, Random& random,
                     Options options, Owner owner)
    : loop_(loop),
      network_(network),
      random_(random),
      options_(std::move(options)),
      owner_(std::move(owner)),
      resolver_(std::make_unique<net::SystemResolver>(loop)) {
  for (const auto& [member, address] : options_.peers) {
    auto same = std::find_if(peers_.begin(), peers_.end(),
                             [&](const Peer& peer) { return peer.address == address; });
    if (same == peers_.end()) {
      peers_.emplace_back();
      peers_.back().address = address;
      peers_.back().pause = options_.least_pause;
      same = std::prev(peers_.end());
    }
    same->members.push_back(member);
  }
  for (Peer& peer : peers_) {
    if (DialsTo(peer)) Dial(peer);
  }
}

PeerLinks::~PeerLinks() {
  for (Peer& peer : peers_) loop_.Cancel(peer.retry);
}

void PeerLinks::Send(const Envelope& envelope) {
  Peer* peer = FindByMember(envelope.to);
  if (peer == nullptr || peer->link == nullptr) return;
  // The frame's tag says whose agent it is for.
  peer->link->Send({.kind = net::FrameKind::kControl, .tag = static_cast<uint64_t>(envelope.to)},
                   Encode(envelope.message));
}

void PeerLinks::Accept(UniqueFd connection) {
  if (introductions_.size() >= kMaxIntroductions) return;
  Introduce(std::move(connection), Handshake::Role::kResponder, nullptr);
}

bool PeerLinks::DialsTo(const Peer& peer) const {
  return options_.self.process.member > peer.members.front();
}

void PeerLinks::Dial(Peer& peer) {
  resolver_->Resolve(peer.address, [this, &peer](Result<std::vector<net::Address>> addresses) {
    if (!addresses.ok()) {
      LOG_EVERY_N(WARNING, 20) << "can't resolve " << peer.address << ": " << addresses.status();
      RetryLater(peer);
      return;
    }
    // Of several answers a random one: over the retries all get their turn.
    DialResolved(peer, (*addresses)[random_.Below(addresses->size())]);
  });
}

void PeerLinks::DialResolved(Peer& peer, const net::Address& address) {
  net::ConnectOptions connect;
  connect.greeting = net::EncodePreamble({net::ConnectionRole::kMembership,
                                          net::HashJobName(options_.self.job),
                                          {peer.members.front(), Incarnation{}},
                                          options_.self.process.member});
  network_.ConnectFd(address, connect, [this, &peer](Result<UniqueFd> connection) {
    if (connection.ok()) {
      Introduce(*std::move(connection), Handshake::Role::kInitiator, &peer);
    } else {
      RetryLater(peer);
    }
  });
}

void PeerLinks::RetryLater(Peer& peer) {
  // Jittered, so that a restarted job's supervisors don't all call at once.
  Duration pause = peer.pause / 2 + Duration(random_.Below(peer.pause.count() / 2 + 1));
  peer.pause = std::min(peer.pause * 2, options_.most_pause);
  peer.retry = loop_.RunAfter(pause, [this, &peer] { Dial(peer); });
}

void PeerLinks::Introduce(UniqueFd connection, Handshake::Role role, Peer* dialled) {
  introductions_.emplace_back();
  auto place = std::prev(introductions_.end());
  *place = std::make_unique<Introduction>(
      loop_, std::move(connection), role, options_.self, options_.key, random_,
      options_.handshake_limit, [this, place, dialled](Result<Acquaintance> result) {
        introductions_.erase(place);
        OnIntroduced(std::move(result), dialled);
      });
}

void PeerLinks::OnIntroduced(Result<Acquaintance> result, Peer* dialled) {
  if (!result.ok()) {
    LOG(WARNING) << "no link to a supervisor: " << result.status();
    if (dialled != nullptr) RetryLater(*dialled);
    return;
  }
  const MemberProcess& supervisor = result->peer.process;
  Peer* peer = FindByMember(supervisor.member);
  if (peer == nullptr || (dialled != nullptr && peer != dialled)) {
    LOG(WARNING) << "an unexpected supervisor of member " << supervisor;
    if (dialled != nullptr) RetryLater(*dialled);
    return;
  }
  if (peer->link != nullptr) OnClosed(*peer);  // the newer connection counts
  peer->supervisor = supervisor.incarnation;
  peer->pause = options_.least_pause;
  peer->link = std::make_unique<net::SocketLink>(loop_, std::move(result->connection));
  peer->link->Start(
      {.on_frame = [this, peer](const net::FrameHeader& header, std::string payload,
                                UniqueFd) { OnFrame(*peer, header, payload); },
       .on_closed = [this, peer](const Status&) { OnClosed(*peer); }});
  for (MemberId member : peer->members) owner_.on_up({member, peer->supervisor});
}

void PeerLinks::OnFrame(Peer& peer, const net::FrameHeader& header, std::string_view payload) {
  auto message = DecodeMessage(payload);
  bool proven = message.ok() && message->from.incarnation == peer.supervisor &&
                std::find(peer.members.begin(), peer.members.end(), message->from.member) !=
                    peer.members.end();
  if (!proven) {
    LOG(WARNING) << "the supervisor at " << peer.address << " sent what it may not: "
                 << (message.ok() ? "another's message" : message.status().message());
    OnClosed(peer);
    return;
  }
  owner_.on_message(static_cast<MemberId>(header.tag), *message);
}

void PeerLinks::OnClosed(Peer& peer) {
  peer.link.reset();
  for (MemberId member : peer.members) owner_.on_down({member, peer.supervisor});
  if (DialsTo(peer)) RetryLater(peer);
}

PeerLinks::Peer* PeerLinks::FindByMember(MemberId member) {
  for (Peer& peer : peers_) {
    if (std::find(peer.members.begin(), peer.members.end(), member) != peer.members.end()) {
      return &peer;
    }
  }
  return nullptr;
}

}  // namespace closeranks::rendezvous
