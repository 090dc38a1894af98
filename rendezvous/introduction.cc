#include "rendezvous/introduction.h"

#include <chrono>
#include <utility>

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

}  // namespace

Introduction::Introduction(net::Loop& loop, std::unique_ptr<net::Socket> connection,
                           Handshake::Role role, Identity self, std::string key, Random& random,
                           Duration limit, Done done)
    : loop_(loop),
      link_(loop, std::move(connection), LinkOptions()),
      handshake_(role, std::move(self), std::move(key), random),
      done_(std::move(done)) {
  link_.Start(
      {.on_frame = [this](const net::FrameHeader&, std::string payload,
                          std::unique_ptr<net::Socket>) { OnMessage(payload); },
       // Whatever it sent, or didn't: who isn't proven is merely of no use.
       .on_closed =
           [this](const Status& why) {
             End(refused_.value_or(
                 Unavailable(why.message()).WithContext("the handshake with " + link_.peer())));
           }});
  limit_ = loop_.RunAfter(limit, [this] {
    End(refused_.value_or(Timeout("the handshake with " + link_.peer() + " took too long")));
  });
  if (role == Handshake::Role::kInitiator) Send(handshake_.Start());
}

Introduction::~Introduction() { loop_.Cancel(limit_); }

void Introduction::OnMessage(std::string_view message) {
  if (refused_.has_value()) return;
  Handshake::Reply reply = handshake_.OnMessage(message);
  if (!reply.send.empty()) Send(std::move(reply.send));
  if (!reply.failure.ok()) {
    Refuse(reply.failure.WithContext("the handshake with " + link_.peer()));
  } else if (handshake_.done()) {
    Result<std::unique_ptr<net::Socket>> connection = link_.Detach();
    if (connection.ok()) {
      End(Acquaintance{handshake_.peer(), *std::move(connection)});
    } else {
      End(connection.status());
    }
  }
}

void Introduction::Refuse(Status why) {
  refused_ = std::move(why);
  link_.FinishSending();
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
  link_.Send({.kind = net::FrameKind::kHello}, std::move(message));
}

Introductions::Introductions(net::Loop& loop, Random& random, Identity self, std::string key,
                             Duration limit, size_t most_callers)
    : loop_(loop),
      random_(random),
      self_(std::move(self)),
      key_(std::move(key)),
      limit_(limit),
      most_callers_(most_callers) {}

void Introductions::Begin(std::unique_ptr<net::Socket> connection, Handshake::Role role,
                          Introduction::Done done) {
  List& list = role == Handshake::Role::kResponder ? callers_ : called_;
  // Who has waited longest goes: those of ours speak at once.
  if (callers_.size() >= most_callers_ && &list == &callers_) callers_.pop_front();
  auto place = list.emplace(list.end());
  *place = std::make_unique<Introduction>(
      loop_, std::move(connection), role, self_, key_, random_, limit_,
      [&list, place, done = std::move(done)](Result<Acquaintance> result) {
        list.erase(place);
        done(std::move(result));
      });
}

void Introductions::Clear() {
  callers_.clear();
  called_.clear();
}

}  // namespace closeranks::rendezvous
