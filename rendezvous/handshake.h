// How two processes of a job make sure of each other, before anything else is believed.
//
// Four messages over any ordered connection; I is the side that connected, R the one that accepted:
//   I -> R  hello   nonce, identity
//   R -> I  hello   nonce, identity, proof over both nonces, both roles and both identities
//   I -> R  proof   the same with I's role
//   R -> I  accept, or at any moment from either side: reject with a text
// A proof is HMAC-SHA-256 (RFC 2104) under the job's key, so neither a stranger nor a replayed or
// reflected message passes. Of several keys I hints at its first (by a MAC of its nonce) and R
// takes that one if it has it, else its own first; I proves itself with the one that R did: so it
// is enough that the key which either of them offers is one of the other's. Over TLS a secret of
// that connection goes into the proofs, so that nobody can stand between the two. Only then are
// job, build, kernels and configuration compared, by each side for itself: I sends its proof even
// where it found a difference, so that R finds it too, and both name both values. No word of the
// other side's is needed for that: a reject is unproven, and never more than a reason why this one
// handshake came to nothing.
//
// A Handshake does no I/O: the owner carries the messages and bounds the time. Single-threaded.
#ifndef CLOSERANKS_RENDEZVOUS_HANDSHAKE_H_
#define CLOSERANKS_RENDEZVOUS_HANDSHAKE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/member.h"
#include "base/random.h"
#include "base/status.h"
#include "rendezvous/terms.h"

namespace closeranks::rendezvous {

// What one side says of itself.
struct Identity {
  std::string job;
  MemberProcess process;
  Terms terms;
  bool operator==(const Identity&) const = default;
};

// The job's keys, at least one, the one to offer first.
using Keys = std::shared_ptr<const std::vector<std::string>>;

class Handshake {
 public:
  enum class Role : uint8_t { kInitiator, kResponder };
  // The largest message that is looked at, in bytes.
  static constexpr size_t kMaxMessage = 16 << 10;

  // `binding` is what only the two ends of this connection know (TlsSocket::Binding), or empty.
  Handshake(Role role, Identity self, Keys keys, Random& random, std::string binding = "");

  // The initiator's first message. Call once, on the initiator only.
  std::string Start();

  struct Reply {
    std::string send;  // empty: nothing to send
    // Set when the handshake failed; `send` (where not empty) is to be sent before closing.
    // kMismatch: the other side has the key, and differs. kUnauthenticated: anything else.
    Status failure;
  };
  // Takes the peer's next message. After a failure or done() no more messages are accepted.
  Reply OnMessage(std::string_view message);

  bool done() const { return stage_ == Stage::kDone; }
  // The other side, proven; valid once done().
  const Identity& peer() const { return peer_; }

 private:
  enum class Stage { kStart, kAwaitingHello, kAwaitingProof, kAwaitingAccept, kDone, kFailed };

  Reply OnHello(std::string_view body);
  Reply OnProof(std::string_view proof);
  Reply Fail(Status why);
  // What `role` proves with the key `which`, given both hellos.
  std::string ProofOf(Role role, size_t which) const;
  // Whether `proof` is one of `role`'s with any of the keys; key_ is then that one.
  bool Proves(Role role, std::string_view proof);
  std::string HintAt(size_t which, std::string_view nonce) const;
  // Ok when the peer may take part.
  Status Compare() const;

  Role role_;
  Stage stage_;
  Identity self_;
  Identity peer_;
  const Keys keys_;
  size_t key_ = 0;  // of keys_: the one in use
  const std::string binding_;
  std::string nonce_;
  std::string initiator_hello_;
  std::string responder_hello_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_HANDSHAKE_H_
