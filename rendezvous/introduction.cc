#include "rendezvous/introduction.h"

#include <chrono>
#include <utility>

#include "net/address.h"
#include "net/call_limit.h"

namespace closeranks::rendezvous {
namespace {

// How long the other side has to read why it was refused.
constexpr Duration kLastWords = std::chrono::milliseconds(200);

net::LinkOptions LinkOptions() {
  net::LinkOptions options;
  options.max_payload = Handshake::kMaxMessage;
  options.exact_reads = true;
  return options;
}

std::string CallerOf(const net::Socket& connection) {
  const auto address = net::Address::Parse(connection.peer());
  return address.ok() ? net::CallerName(*address) : connection.peer();
}

}  // namespace

Introduction::Introduction(net::Loop& loop, std::unique_ptr<net::Socket> connection,
                           Handshake::Role role, Identity self, Keys keys,
                           std::shared_ptr<const net::TlsContext> tls, Random& random,
                           Duration limit, Done done)
    : loop_(loop),
      role_(role),
      who_("the handshake with " + connection->peer()),
      self_(std::move(self)),
      keys_(std::move(keys)),
      random_(random),
      done_(std::move(done)) {
  limit_ =
      loop_.RunAfter(limit, [this] { End(refused_.value_or(Timeout(who_ + " took too long"))); });
  if (tls == nullptr) {
    Begin(std::move(connection), "");
    return;
  }
  const auto tls_role = role == Handshake::Role::kInitiator ? net::TlsSocket::Role::kClient
                                                            : net::TlsSocket::Role::kServer;
  securing_ = std::make_unique<net::TlsSocket>(std::move(tls), std::move(connection), tls_role);
  // The client speaks first, and can at once.
  Status watched = loop_.Watch(securing_->descriptor(),
                               {.readable = true, .writable = role == Handshake::Role::kInitiator},
                               [this](net::Ready) { OnSecuring(); });
  if (watched.ok()) return;
  securing_.reset();
  loop_.Cancel(limit_);
  limit_ = loop_.RunAfter(Duration::zero(), [this, watched] { End(watched); });
}

Introduction::~Introduction() {
  loop_.Cancel(limit_);
  if (securing_ != nullptr) loop_.Unwatch(securing_->descriptor());
}

void Introduction::OnSecuring() {
  const Result<bool> secured = securing_->Handshake();
  if (secured.ok() && !*secured) {
    return loop_.Modify(securing_->descriptor(),
                        {.readable = true, .writable = securing_->has_unsent()});
  }
  loop_.Unwatch(securing_->descriptor());
  std::unique_ptr<net::TlsSocket> connection = std::move(securing_);
  if (!secured.ok()) return End(secured.status());
  std::string binding = connection->Binding();
  Begin(std::move(connection), std::move(binding));
}

void Introduction::Begin(std::unique_ptr<net::Socket> connection, std::string binding) {
  handshake_.emplace(role_, std::move(self_), keys_, random_, std::move(binding));
  link_.emplace(loop_, std::move(connection), LinkOptions());
  link_->Start({.on_frame = [this](const net::FrameHeader&, std::string payload,
                                   std::unique_ptr<net::Socket>) { OnMessage(payload); },
                // Whatever it sent, or didn't: who isn't proven is merely of no use.
                .on_closed =
                    [this](const Status& why) {
                      const bool was_refused = why.code() == StatusCode::kUnauthenticated;
                      End(refused_.value_or(was_refused
                                                ? why.WithContext(who_)
                                                : Unavailable(why.message()).WithContext(who_)));
                    }});
  if (role_ == Handshake::Role::kInitiator) Send(handshake_->Start());
}

void Introduction::OnMessage(std::string_view message) {
  if (refused_.has_value()) return;
  Handshake::Reply reply = handshake_->OnMessage(message);
  if (!reply.send.empty()) Send(std::move(reply.send));
  if (!reply.failure.ok()) {
    Refuse(reply.failure.WithContext(who_));
  } else if (handshake_->done()) {
    Result<std::unique_ptr<net::Socket>> connection = link_->Detach();
    if (connection.ok()) {
      End(Acquaintance{handshake_->peer(), *std::move(connection)});
    } else {
      End(connection.status());
    }
  }
}

void Introduction::Refuse(Status why) {
  refused_ = std::move(why);
  link_->FinishSending();
  loop_.Cancel(limit_);
  limit_ = loop_.RunAfter(kLastWords, [this] { End(*refused_); });
}

void Introduction::End(Result<Acquaintance> result) {
  loop_.Cancel(limit_);
  // `done` may destroy this.
  Done done = std::exchange(done_, nullptr);
  if (done) done(std::move(result));
}

void Introduction::Send(std::string message) {
  link_->Send({.kind = net::FrameKind::kHello}, std::move(message));
}

Introductions::Introductions(net::Loop& loop, Random& random, Identity self,
                             Credentials& credentials, Duration limit, size_t most_callers)
    : loop_(loop),
      random_(random),
      self_(std::move(self)),
      credentials_(credentials),
      limit_(limit),
      most_callers_(most_callers) {}

void Introductions::Begin(std::unique_ptr<net::Socket> connection, Handshake::Role role,
                          bool is_local, Introduction::Done done) {
  List& list = role == Handshake::Role::kResponder ? callers_ : called_;
  if (callers_.size() >= most_callers_ && &list == &callers_) {
    callers_.erase(net::FirstOfTheBusiestCaller(
        callers_, [](const UnderWay& under_way) { return under_way.caller; }));
  }
  const auto place = list.emplace(list.end());
  place->caller = CallerOf(*connection);
  place->introduction = std::make_unique<Introduction>(
      loop_, std::move(connection), role, self_, credentials_.keys(),
      is_local ? nullptr : credentials_.tls(), random_, limit_,
      [this, &list, place, done = std::move(done)](Result<Acquaintance> result) {
        if (result.status().code() == StatusCode::kUnauthenticated) credentials_.LookAgain();
        list.erase(place);
        done(std::move(result));
      });
}

void Introductions::Clear() {
  callers_.clear();
  called_.clear();
}

}  // namespace closeranks::rendezvous
