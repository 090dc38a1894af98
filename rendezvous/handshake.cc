#include "rendezvous/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "base/bytes.h"
#include "glog/logging.h"

namespace closeranks::rendezvous {
namespace {

enum class MessageType : uint8_t { kHello = 1, kProof = 2, kAccept = 3, kReject = 4 };

constexpr int kNonceWords = 4;
constexpr size_t kHintBytes = 8;
constexpr size_t kMostRefusalText = 200;

void PutIdentity(ByteWriter& writer, const Identity& identity) {
  writer.PutString(identity.job);
  writer.Put(identity.process);
  Encode(identity.terms, writer);
}

Identity GetIdentity(ByteReader& reader) {
  Identity identity;
  identity.job = reader.GetString();
  identity.process = reader.GetMemberProcess();
  identity.terms = DecodeTerms(reader);
  return identity;
}

std::string Hmac(std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int length = 0;
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(),
             &length) != nullptr);
  return {reinterpret_cast<const char*>(digest.data()), length};
}

bool SameSecret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string Typed(MessageType type, std::string_view body) {
  std::string message(1, static_cast<char>(type));
  message.append(body);
  return message;
}

// What a stranger says may end up in a log: one line of it, and not a long one.
std::string Readable(std::string_view text) {
  std::string readable(text.substr(0, kMostRefusalText));
  std::replace_if(
      readable.begin(), readable.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return readable;
}

std::string Named(const Identity& identity) {
  std::ostringstream out;
  out << "member " << identity.process;
  return out.str();
}

}  // namespace

Handshake::Handshake(Role role, Identity self, Keys keys, Random& random, std::string binding)
    : role_(role),
      stage_(role == Role::kInitiator ? Stage::kStart : Stage::kAwaitingHello),
      self_(std::move(self)),
      keys_(std::move(keys)),
      binding_(std::move(binding)) {
  CHECK(!keys_->empty());
  ByteWriter nonce;
  for (int i = 0; i < kNonceWords; ++i) nonce.Put(random.Next());
  nonce_ = nonce.bytes();
}

std::string Handshake::Start() {
  CHECK(stage_ == Stage::kStart);
  ByteWriter hello;
  hello.PutString(nonce_);
  PutIdentity(hello, self_);
  hello.PutString(HintAt(key_, nonce_));
  initiator_hello_ = hello.bytes();
  stage_ = Stage::kAwaitingHello;
  return Typed(MessageType::kHello, initiator_hello_);
}

Handshake::Reply Handshake::OnMessage(std::string_view message) {
  if (message.empty() || message.size() > kMaxMessage) {
    return Fail(
        Unauthenticated("a handshake message of " + std::to_string(message.size()) + " bytes"));
  }
  auto type = static_cast<MessageType>(message[0]);
  std::string_view body = message.substr(1);
  if (type == MessageType::kReject && stage_ != Stage::kDone && stage_ != Stage::kFailed) {
    stage_ = Stage::kFailed;
    return {"", Unauthenticated("refused by the other side: " + Readable(body))};
  }
  if (type == MessageType::kHello && stage_ == Stage::kAwaitingHello) return OnHello(body);
  if (type == MessageType::kProof && stage_ == Stage::kAwaitingProof) return OnProof(body);
  if (type == MessageType::kAccept && stage_ == Stage::kAwaitingAccept && body.empty()) {
    stage_ = Stage::kDone;
    return {};
  }
  return Fail(Unauthenticated("an unexpected handshake message"));
}

Handshake::Reply Handshake::OnHello(std::string_view body) {
  ByteReader reader(body);
  std::string nonce = reader.GetString();
  peer_ = GetIdentity(reader);
  // Of R its proof, of I its hint.
  const std::string last = reader.GetString();
  if (!reader.AtEnd() || nonce.size() != kNonceWords * sizeof(uint64_t)) {
    return Fail(Unauthenticated("a malformed handshake message"));
  }
  ByteWriter theirs;
  theirs.PutString(nonce);
  PutIdentity(theirs, peer_);
  if (role_ == Role::kResponder) {
    theirs.PutString(last);
    initiator_hello_ = theirs.bytes();
    for (size_t which = keys_->size(); which-- > 0;) {
      if (SameSecret(last, HintAt(which, nonce))) key_ = which;
    }
    ByteWriter hello;
    hello.PutString(nonce_);
    PutIdentity(hello, self_);
    responder_hello_ = hello.bytes();
    hello.PutString(ProofOf(Role::kResponder, key_));
    stage_ = Stage::kAwaitingProof;
    return {Typed(MessageType::kHello, hello.bytes()), OkStatus()};
  }
  responder_hello_ = theirs.bytes();
  if (!Proves(Role::kResponder, last)) {
    return Fail(Unauthenticated(Named(peer_) + " doesn't have the job's key"));
  }
  Status fits = Compare();
  stage_ = fits.ok() ? Stage::kAwaitingAccept : Stage::kFailed;
  return {Typed(MessageType::kProof, ProofOf(Role::kInitiator, key_)), std::move(fits)};
}

Handshake::Reply Handshake::OnProof(std::string_view proof) {
  if (!Proves(Role::kInitiator, proof)) {
    return Fail(Unauthenticated(Named(peer_) + " doesn't have the job's key"));
  }
  if (Status fits = Compare(); !fits.ok()) {
    stage_ = Stage::kFailed;
    return {"", std::move(fits)};
  }
  stage_ = Stage::kDone;
  return {Typed(MessageType::kAccept, ""), OkStatus()};
}

Handshake::Reply Handshake::Fail(Status why) {
  stage_ = Stage::kFailed;
  return {Typed(MessageType::kReject, why.message()), std::move(why)};
}

bool Handshake::Proves(Role role, std::string_view proof) {
  for (size_t which = 0; which < keys_->size(); ++which) {
    if (!SameSecret(proof, ProofOf(role, which))) continue;
    key_ = which;
    return true;
  }
  return false;
}

std::string Handshake::HintAt(size_t which, std::string_view nonce) const {
  ByteWriter text;
  text.PutString("closeranks key");
  text.PutString(nonce);
  return Hmac((*keys_)[which], text.bytes()).substr(0, kHintBytes);
}

std::string Handshake::ProofOf(Role role, size_t which) const {
  ByteWriter transcript;
  transcript.PutString(role == Role::kInitiator ? "closeranks initiator" : "closeranks responder");
  transcript.PutString(initiator_hello_);
  transcript.PutString(responder_hello_);
  transcript.PutString(binding_);
  return Hmac((*keys_)[which], transcript.bytes());
}

Status Handshake::Compare() const {
  if (self_.job != peer_.job) {
    return Mismatch("job differs: " + Named(self_) + " has '" + self_.job + "', " + Named(peer_) +
                    " has '" + peer_.job + "'");
  }
  std::string difference = Difference(Named(self_), self_.terms, Named(peer_), peer_.terms);
  return difference.empty() ? OkStatus() : Mismatch(std::move(difference));
}

}  // namespace closeranks::rendezvous
