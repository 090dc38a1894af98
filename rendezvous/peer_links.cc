#include "rendezvous/peer_links.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "glog/logging.h"
#include "net/preamble.h"

namespace closeranks::rendezvous {
namespace {

// To processes that say they are the same member's supervisor.
constexpr size_t kMaxLines = 4;
constexpr size_t kMaxSeen = 32;
// Between two log lines about the same trouble with one peer.
constexpr Duration kTroubleInterval = std::chrono::seconds(10);

// "10.0.0.7:29400 (member 2)", "trainer-1:29400 (members 2 to 3)"
std::string Named(const net::Address& address, const std::vector<MemberId>& members) {
  std::string text = address.ToString() + " (member";
  if (members.size() == 1) return text + " " + std::to_string(members.front()) + ")";
  return text + "s " + std::to_string(members.front()) + " to " + std::to_string(members.back()) +
         ")";
}

}  // namespace

PeerLinks::PeerLinks(net::EventLoop& loop, net::SocketNetwork& network, Random& random,
                     Options options, Owner owner)
    : loop_(loop),
      network_(network),
      random_(random),
      options_(std::move(options)),
      owner_(std::move(owner)),
      introductions_(loop, random, options_.self, options_.key, options_.handshake_limit,
                     options_.max_introductions),
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
  if (peer == nullptr || peer->lines.empty()) return;
  auto line = std::find_if(peer->lines.begin(), peer->lines.end(), [&](const Line& candidate) {
    return candidate.supervisor == envelope.message.to;
  });
  if (line == peer->lines.end()) line = std::prev(line);
  // The frame's tag says whose agent it is for.
  line->link->Send({.kind = net::FrameKind::kControl, .tag = static_cast<uint64_t>(envelope.to)},
                   Encode(envelope.message));
}

void PeerLinks::Accept(UniqueFd connection) {
  if (hangs_up_) return;
  Introduce(std::move(connection), Handshake::Role::kResponder, nullptr);
}

std::string PeerLinks::DescribeMissing() const {
  std::string text;
  for (const Peer& peer : peers_) {
    if (!peer.lines.empty()) continue;
    text += (text.empty() ? "" : "; ") + Named(peer.address, peer.members) + ": ";
    text += peer.trouble.ok() ? "it never called" : peer.trouble.message();
  }
  return text;
}

Status PeerLinks::refusal() const {
  for (const Peer& peer : peers_) {
    bool is_refusal = peer.trouble.code() == StatusCode::kMismatch ||
                      peer.trouble.code() == StatusCode::kUnauthenticated;
    if (peer.lines.empty() && is_refusal) return peer.trouble;
  }
  return refused_caller_;
}

void PeerLinks::HangUp() {
  hangs_up_ = true;
  introductions_.Clear();
  for (Peer& peer : peers_) {
    loop_.Cancel(peer.retry);
    for (Line& line : peer.lines) line.link->FinishSending();
  }
}

bool PeerLinks::HasLinks() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const Peer& peer) { return !peer.lines.empty(); });
}

bool PeerLinks::DialsTo(const Peer& peer) const {
  return options_.self.process.member > peer.members.front();
}

void PeerLinks::Dial(Peer& peer) {
  if (!peer.lines.empty() || peer.is_dialling || hangs_up_) return;
  peer.is_dialling = true;
  resolver_->Resolve(peer.address, [this, &peer](Result<std::vector<net::Address>> addresses) {
    if (!addresses.ok()) {
      RetryLater(peer, addresses.status());
    } else {
      // Of several answers a random one: over the retries all get their turn.
      DialResolved(peer, (*addresses)[random_.Below(addresses->size())]);
    }
  });
}

void PeerLinks::DialResolved(Peer& peer, const net::Address& address) {
  net::ConnectOptions connect;
  connect.greeting = net::EncodePreamble({net::ConnectionRole::kMembership,
                                          net::HashJobName(options_.self.job),
                                          {peer.members.front(), Incarnation{}},
                                          options_.self.process.member});
  network_.ConnectFd(address, connect, [this, &peer](Result<UniqueFd> connection) {
    if (!connection.ok()) {
      RetryLater(peer, connection.status());
    } else if (!hangs_up_) {
      Introduce(*std::move(connection), Handshake::Role::kInitiator, &peer);
    }
  });
}

void PeerLinks::RetryLater(Peer& peer, const Status& why) {
  peer.is_dialling = false;
  NoteTrouble(peer, why);
  if (hangs_up_) return;
  // Jittered, so that a restarted job's supervisors don't all call at once.
  Duration pause = peer.pause / 2 + Duration(random_.Below(peer.pause.count() / 2 + 1));
  peer.pause = std::min(peer.pause * 2, options_.most_pause);
  loop_.Cancel(peer.retry);
  peer.retry = loop_.RunAfter(pause, [this, &peer] { Dial(peer); });
}

void PeerLinks::NoteTrouble(Peer& peer, const Status& why) {
  bool is_new = why.code() != peer.trouble.code();
  TimePoint now = loop_.Now();
  if (!job_ended_ && (is_new || now - peer.trouble_logged >= kTroubleInterval)) {
    peer.trouble_logged = now;
    LOG(WARNING) << "no link to the supervisor at " << Named(peer.address, peer.members) << ": "
                 << why << "; trying again";
  }
  peer.trouble = why;
}

void PeerLinks::Introduce(UniqueFd connection, Handshake::Role role, Peer* dialled) {
  introductions_.Begin(std::move(connection), role, [this, dialled](Result<Acquaintance> result) {
    OnIntroduced(std::move(result), dialled);
  });
}

void PeerLinks::OnIntroduced(Result<Acquaintance> result, Peer* dialled) {
  if (!result.ok()) {
    const Status& why = result.status();
    if (dialled != nullptr) {
      RetryLater(*dialled, why);
    } else {
      LOG_EVERY_N(WARNING, 20) << "a caller was turned away: " << why;
      if (why.code() == StatusCode::kMismatch || why.code() == StatusCode::kUnauthenticated) {
        refused_caller_ = why;
      }
    }
    if (why.code() == StatusCode::kMismatch && owner_.on_mismatch) owner_.on_mismatch(why);
    return;
  }
  const MemberProcess& supervisor = result->peer.process;
  Peer* peer = FindByMember(supervisor.member);
  if (peer == nullptr || (dialled != nullptr && peer != dialled)) {
    std::ostringstream who;
    who << "an unexpected supervisor, of member " << supervisor
        << ": is --hosts the same everywhere, and each --host-index given once?";
    if (dialled != nullptr) {
      RetryLater(*dialled, Mismatch(who.str()));
    } else {
      LOG_EVERY_N(WARNING, 20) << "a caller was turned away: " << who.str();
    }
    return;
  }
  const Incarnation incarnation = supervisor.incarnation;
  Drop(*peer, incarnation);  // the newer connection counts
  if (peer->lines.size() >= kMaxLines) Drop(*peer, peer->lines.front().supervisor);
  if (dialled != nullptr) peer->is_dialling = false;
  peer->pause = options_.least_pause;
  peer->trouble = OkStatus();
  if (std::find(peer->seen.begin(), peer->seen.end(), incarnation) == peer->seen.end()) {
    // A new process is a hint that the ones before it are gone. One that comes back is none.
    for (const Line& line : peer->lines) {
      for (MemberId member : peer->members) owner_.on_down({member, line.supervisor});
    }
    if (peer->seen.size() >= kMaxSeen) peer->seen.erase(peer->seen.begin());
    peer->seen.push_back(incarnation);
  }
  Line& line = peer->lines.emplace_back();
  line.supervisor = incarnation;
  line.link = std::make_unique<net::SocketLink>(loop_, std::move(result->connection));
  line.link->Start({.on_frame = [this, peer, incarnation](
                                    const net::FrameHeader& header, std::string payload,
                                    UniqueFd) { OnFrame(*peer, incarnation, header, payload); },
                    .on_closed = [this, peer, incarnation](
                                     const Status& why) { OnClosed(*peer, incarnation, why); }});
  for (MemberId member : peer->members) owner_.on_up({member, incarnation});
}

void PeerLinks::OnFrame(Peer& peer, Incarnation supervisor, const net::FrameHeader& header,
                        std::string_view payload) {
  auto message = DecodeMessage(payload);
  bool proven = message.ok() && message->from.incarnation == supervisor &&
                std::find(peer.members.begin(), peer.members.end(), message->from.member) !=
                    peer.members.end();
  if (!proven) {
    OnClosed(peer, supervisor,
             message.ok() ? Mismatch("it sent a message in another's name")
                          : Mismatch(message.status().message()));
    return;
  }
  owner_.on_message(static_cast<MemberId>(header.tag), *message);
}

void PeerLinks::OnClosed(Peer& peer, Incarnation supervisor, const Status& why) {
  Drop(peer, supervisor);
  if (!peer.lines.empty()) return;
  if (DialsTo(peer)) {
    RetryLater(peer, why);
  } else {
    NoteTrouble(peer, why);
  }
}

void PeerLinks::Drop(Peer& peer, Incarnation supervisor) {
  auto line = std::find_if(peer.lines.begin(), peer.lines.end(), [&](const Line& candidate) {
    return candidate.supervisor == supervisor;
  });
  if (line == peer.lines.end()) return;
  peer.lines.erase(line);
  for (MemberId member : peer.members) owner_.on_down({member, supervisor});
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
