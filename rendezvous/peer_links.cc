#include "rendezvous/peer_links.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/files.h"
#include "glog/logging.h"
#include "net/dns_resolver.h"
#include "net/preamble.h"

namespace closeranks::rendezvous {
namespace {

// To processes that say they are the same member's supervisor. More than somebody who starts a host
// again and again would have alive: beyond it they take each other's lines, the listed one's too.
constexpr size_t kMaxLines = 16;
constexpr size_t kMaxMet = 4096;
// At the same time, for one search: a name may have any number of addresses.
constexpr size_t kMaxCalling = 64;
// Between two log lines about the same trouble of one search.
constexpr Duration kTroubleInterval = std::chrono::seconds(10);

// "member 2", "members 2 to 3"
std::string Named(const std::vector<MemberId>& members) {
  if (members.size() == 1) return "member " + std::to_string(members.front());
  return "members " + std::to_string(members.front()) + " to " + std::to_string(members.back());
}

bool IsRefusal(const Status& why) {
  return why.code() == StatusCode::kMismatch || why.code() == StatusCode::kUnauthenticated;
}

}  // namespace

PeerLinks::PeerLinks(net::Loop& loop, net::Network& network, Random& random, Options options,
                     Owner owner)
    : loop_(loop),
      network_(network),
      random_(random),
      options_(std::move(options)),
      owner_(std::move(owner)),
      introductions_(loop, random, options_.self, *options_.credentials, options_.handshake_limit,
                     options_.max_introductions) {
  if (options_.resolver == nullptr) {
    own_resolver_ = std::make_unique<net::DnsResolver>(loop);
    options_.resolver = own_resolver_.get();
  }
  for (const std::vector<MemberId>& members : options_.peers) peers_.push_back({members, {}});
  BeginSearches();
}

PeerLinks::~PeerLinks() {
  for (Search& search : searches_) loop_.Cancel(search.retry);
}

void PeerLinks::BeginSearches() {
  if (peers_.empty()) return;
  const Whereabouts& where = options_.whereabouts;
  if (where.IsList()) {
    CHECK_EQ(where.hosts.size(), peers_.size());
    auto host = where.hosts.begin();
    for (Peer& peer : peers_) {
      Search& search = searches_.emplace_back();
      search.source = MakeHostSource(*options_.resolver, *host++);
      search.wanted = &peer;
    }
  } else if (!where.service.empty()) {
    Search& search = searches_.emplace_back();
    search.source = MakeServiceSource(*options_.resolver, where);
    search.least_pause = options_.least_service_pause;
  } else {
    searches_.emplace_back().source =
        MakeFolderSource(loop_, std::make_shared<SystemFiles>(), where.folder, options_.self.job,
                         options_.self.process.member, options_.advertised);
  }
  for (Search& search : searches_) {
    if (search.least_pause == Duration{}) search.least_pause = options_.least_pause;
    search.pause = search.least_pause;
    Look(search);
  }
}

bool PeerLinks::IsNeeded(const Search& search) const {
  if (hangs_up_) return false;
  if (search.wanted != nullptr) return search.wanted->lines.empty();
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const Peer& peer) { return peer.lines.empty(); });
}

void PeerLinks::Look(Search& search) {
  if (search.is_looking || !search.calling.empty() || !IsNeeded(search)) return;
  search.is_looking = true;
  search.source->Find([this, &search](Result<std::vector<net::Address>> found) {
    search.is_looking = false;
    if (!IsNeeded(search)) return;
    if (!found.ok()) {
      NoteTrouble(search, found.status());
      return LookLater(search);
    }
    std::vector<net::Address> addresses = *std::move(found);
    std::erase_if(addresses, [this](const net::Address& address) {
      auto met = met_at_.find(address);
      if (met == met_at_.end()) return false;
      if (met->second == options_.self.process) return true;
      Peer* peer = FindByMember(met->second.member);
      return peer != nullptr && HasLineTo(*peer, met->second.incarnation);
    });
    // In any order: over the retries all get their turn.
    for (size_t i = 1; i < addresses.size(); ++i) {
      std::swap(addresses[i], addresses[random_.Below(i + 1)]);
    }
    if (addresses.size() > kMaxCalling) addresses.resize(kMaxCalling);
    if (addresses.empty()) {
      NoteTrouble(search, Unavailable("nobody else is there"));
      return LookLater(search);
    }
    search.calling.insert(addresses.begin(), addresses.end());
    for (const net::Address& address : addresses) Call(search, address);
  });
}

void PeerLinks::Call(Search& search, const net::Address& address) {
  net::ConnectOptions connect;
  const MemberId wanted = search.wanted == nullptr ? -1 : search.wanted->members.front();
  connect.greeting = net::EncodePreamble({net::ConnectionRole::kMembership,
                                          net::HashJobName(options_.self.job),
                                          {wanted, Incarnation{}},
                                          options_.self.process.member});
  network_.Connect(address, connect,
                   [this, &search, address](Result<std::unique_ptr<net::Socket>> connection) {
                     if (!connection.ok()) {
                       CallFailed(search, address, connection.status());
                     } else if (!hangs_up_) {
                       Introduce(*std::move(connection), &search, address);
                     }
                   });
}

void PeerLinks::CallEnded(Search& search, const net::Address& address) {
  search.calling.erase(address);
  if (search.calling.empty()) LookLater(search);
}

void PeerLinks::CallFailed(Search& search, const net::Address& address, const Status& why) {
  NoteTrouble(search, why);
  CallEnded(search, address);
}

void PeerLinks::LookLater(Search& search) {
  if (!IsNeeded(search)) return;
  // Jittered, so that a restarted job's supervisors don't all call at once.
  Duration pause = search.pause / 2 + Duration(random_.Below(search.pause.count() / 2 + 1));
  search.pause = std::min(search.pause * 2, options_.most_pause);
  loop_.Cancel(search.retry);
  search.retry = loop_.RunAfter(pause, [this, &search] { Look(search); });
}

void PeerLinks::NoteTrouble(Search& search, const Status& why) {
  bool is_new = why.code() != search.trouble.code();
  TimePoint now = loop_.Now();
  if (!job_ended_ && (is_new || now - search.trouble_logged >= kTroubleInterval)) {
    search.trouble_logged = now;
    std::string whom = search.wanted == nullptr
                           ? "all supervisors"
                           : "the supervisor of " + Named(search.wanted->members);
    LOG(WARNING) << "no link to " << whom << " at " << search.source->name() << ": " << why
                 << "; trying again";
  }
  search.trouble = why;
  if (IsRefusal(why)) search.refusal = why;
}

void PeerLinks::Send(const Envelope& envelope) {
  Peer* peer = FindByMember(envelope.to);
  if (peer == nullptr || peer->lines.empty()) return;
  auto line = std::find_if(peer->lines.rbegin(), peer->lines.rend(), [&](const Line& candidate) {
    return candidate.supervisor == envelope.message.to;
  });
  if (line == peer->lines.rend()) line = peer->lines.rbegin();
  // The frame's tag says whose agent it is for.
  line->link->Send({.kind = net::FrameKind::kControl, .tag = static_cast<uint64_t>(envelope.to)},
                   Encode(envelope.message));
}

void PeerLinks::Accept(std::unique_ptr<net::Socket> connection) {
  if (!hangs_up_) Introduce(std::move(connection), nullptr, {});
}

std::string PeerLinks::DescribeMissing() const {
  std::string text;
  for (const Peer& peer : peers_) {
    if (!peer.lines.empty()) continue;
    const auto search = std::find_if(searches_.begin(), searches_.end(), [&](const Search& other) {
      return other.wanted == nullptr || other.wanted == &peer;
    });
    text +=
        (text.empty() ? "" : "; ") + search->source->name() + " (" + Named(peer.members) + "): ";
    const Status& why = search->refusal.ok() ? search->trouble : search->refusal;
    text += why.ok() ? "nobody was met there yet" : why.message();
  }
  if (!text.empty() && refused_callers_ > 0) {
    text += "; callers that were refused: " + std::to_string(refused_callers_) +
            ", the last one: " + last_refused_.message();
  }
  return text;
}

Status PeerLinks::refusal() const {
  for (const Search& search : searches_) {
    bool is_linked = search.wanted != nullptr && !search.wanted->lines.empty();
    if (!search.refusal.ok() && !is_linked) return search.refusal;
  }
  return OkStatus();
}

void PeerLinks::HangUp() {
  hangs_up_ = true;
  introductions_.Clear();
  for (Search& search : searches_) loop_.Cancel(search.retry);
  for (Peer& peer : peers_) {
    for (Line& line : peer.lines) line.link->FinishSending();
  }
}

bool PeerLinks::HasLinks() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const Peer& peer) { return !peer.lines.empty(); });
}

void PeerLinks::Introduce(std::unique_ptr<net::Socket> connection, Search* search,
                          const net::Address& address) {
  const auto role = search == nullptr ? Handshake::Role::kResponder : Handshake::Role::kInitiator;
  introductions_.Begin(std::move(connection), role, /*is_local=*/false,
                       [this, search, address](Result<Acquaintance> result) {
                         OnIntroduced(std::move(result), search, address);
                       });
}

void PeerLinks::OnIntroduced(Result<Acquaintance> result, Search* search,
                             const net::Address& address) {
  if (!result.ok()) {
    const Status& why = result.status();
    if (search != nullptr) {
      CallFailed(*search, address, why);
    } else {
      TurnAway(why);
    }
    if (why.code() == StatusCode::kMismatch && owner_.on_mismatch) owner_.on_mismatch(why);
    return;
  }
  const MemberProcess& supervisor = result->peer.process;
  if (search != nullptr) {
    if (met_at_.size() >= kMaxMet) met_at_.clear();
    met_at_[address] = supervisor;
  }
  if (supervisor == options_.self.process) {
    // A name that leads to all leads here, too.
    if (search != nullptr) CallEnded(*search, address);
    return;
  }
  Peer* peer = FindByMember(supervisor.member);
  if (peer == nullptr ||
      (search != nullptr && search->wanted != nullptr && peer != search->wanted)) {
    std::ostringstream who;
    who << "an unexpected supervisor, of member " << supervisor
        << ": is --hosts the same everywhere, and each --host-index given once?";
    if (search != nullptr) {
      CallFailed(*search, address, Mismatch(who.str()));
    } else {
      TurnAway(Mismatch(who.str()));
    }
    return;
  }
  const bool is_spare = search != nullptr && IsSpare(*peer, supervisor);
  if (!is_spare) {
    AddLine(*peer, supervisor.incarnation, search != nullptr, std::move(result->connection));
  }
  if (search == nullptr) return;
  search->pause = search->least_pause;
  search->trouble = search->refusal = OkStatus();
  CallEnded(*search, address);
}

void PeerLinks::TurnAway(const Status& why) {
  LOG_EVERY_N(WARNING, 20) << "a caller was turned away: " << why;
  if (!IsRefusal(why)) return;
  ++refused_callers_;
  last_refused_ = why;
}

// Two processes may call each other at the same time, and then each must not close the line that
// the other one keeps: of these two lines only the lower process closes its own.
bool PeerLinks::IsSpare(const Peer& peer, const MemberProcess& supervisor) const {
  const bool is_lower = options_.self.process.member < supervisor.member;
  return std::any_of(peer.lines.begin(), peer.lines.end(), [&](const Line& line) {
    return line.supervisor == supervisor.incarnation && (line.called || is_lower);
  });
}

void PeerLinks::AddLine(Peer& peer, const Incarnation& supervisor, bool called,
                        std::unique_ptr<net::Socket> connection) {
  if (peer.lines.size() >= kMaxLines) OnClosed(peer, peer.lines.front(), OkStatus());
  const bool is_first = !HasLineTo(peer, supervisor);
  Line& line = peer.lines.emplace_back();
  line.supervisor = supervisor;
  line.called = called;
  connection->GiveUpAfter(options_.line_limit);
  line.link = std::make_unique<net::Link>(loop_, std::move(connection));
  line.link->Start(
      {.on_frame = [this, &peer, &line](
                       const net::FrameHeader& header, std::string payload,
                       std::unique_ptr<net::Socket>) { OnFrame(peer, line, header, payload); },
       .on_closed = [this, &peer, &line](const Status& why) { OnClosed(peer, line, why); }});
  if (!is_first) return;
  for (MemberId member : peer.members) owner_.on_up({member, supervisor});
}

void PeerLinks::OnFrame(Peer& peer, Line& line, const net::FrameHeader& header,
                        std::string_view payload) {
  auto message = DecodeMessage(payload);
  bool proven = message.ok() && message->from.incarnation == line.supervisor &&
                std::find(peer.members.begin(), peer.members.end(), message->from.member) !=
                    peer.members.end();
  if (!proven) {
    OnClosed(peer, line,
             message.ok() ? Mismatch("it sent a message in another's name")
                          : Mismatch(message.status().message()));
    return;
  }
  owner_.on_message(static_cast<MemberId>(header.tag), *message);
}

void PeerLinks::OnClosed(Peer& peer, Line& line, const Status& why) {
  const Incarnation supervisor = line.supervisor;
  peer.lines.remove_if([&line](const Line& other) { return &other == &line; });
  if (!HasLineTo(peer, supervisor)) {
    for (MemberId member : peer.members) owner_.on_down({member, supervisor});
  }
  if (!peer.lines.empty()) return;
  for (Search& search : searches_) {
    if (search.wanted != nullptr && search.wanted != &peer) continue;
    NoteTrouble(search, why);
    if (!search.is_looking && search.calling.empty()) LookLater(search);
  }
}

bool PeerLinks::HasLineTo(const Peer& peer, const Incarnation& supervisor) {
  return std::any_of(peer.lines.begin(), peer.lines.end(),
                     [&](const Line& line) { return line.supervisor == supervisor; });
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
