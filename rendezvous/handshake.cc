#include "rendezvous/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "base/bytes.h"

namespace closeranks::rendezvous {
namespace {

enum class MessageType : uint8_t { kHello = 1, kProof = 2, kAccept = 3, kReject = 4 };

constexpr int kNonceWords = 4;
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

Handshake::Handshake(Role role, Identity self, std::string key, Random& random)
    : role_(role),
      stage_(role == Role::kInitiator ? Stage::kStart : Stage::kAwaitingHello),
      self_(std::move(self)),
      key_(std::move(key)) {
  ByteWriter nonce;
  for (int i = 0; i < kNonceWords; ++i) nonce.Put(random.Next());
  nonce_ = nonce.bytes();
}

std::string Handshake::Start() {
  CHECK(stage_ == Stage::kStart);
  ByteWriter hello;
  hello.PutString(nonce_);
  PutIdentity(hello, self_);
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
  std::string proof = role_ == Role::kInitiator ? reader.GetString() : "";
  if (!reader.AtEnd() || nonce.size() != kNonceWords * sizeof(uint64_t)) {
    return Fail(Unauthenticated("a malformed handshake message"));
  }
  ByteWriter theirs;
  theirs.PutString(nonce);
  PutIdentity(theirs, peer_);
  if (role_ == Role::kResponder) {
    initiator_hello_ = theirs.bytes();
    ByteWriter hello;
    hello.PutString(nonce_);
    PutIdentity(hello, self_);
    responder_hello_ = hello.bytes();
    hello.PutString(ProofOf(Role::kResponder));
    stage_ = Stage::kAwaitingProof;
    return {Typed(MessageType::kHello, hello.bytes()), OkStatus()};
  }
  responder_hello_ = theirs.bytes();
  if (!SameSecret(proof, ProofOf(Role::kResponder))) {
    return Fail(Unauthenticated(Named(peer_) + " doesn't have the job's key"));
  }
  Status fits = Compare();
  stage_ = fits.ok() ? Stage::kAwaitingAccept : Stage::kFailed;
  return {Typed(MessageType::kProof, ProofOf(Role::kInitiator)), std::move(fits)};
}

Handshake::Reply Handshake::OnProof(std::string_view proof) {
  if (!SameSecret(proof, ProofOf(Role::kInitiator))) {
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

std::string Handshake::ProofOf(Role role) const {
  ByteWriter transcript;
  transcript.PutString(role == Role::kInitiator ? "closeranks initiator" : "closeranks responder");
  transcript.PutString(initiator_hello_);
  transcript.PutString(responder_hello_);
  return Hmac(key_, transcript.bytes());
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
