// Encrypted connections: mutual TLS, by OpenSSL.
#ifndef CLOSERANKS_NET_TLS_H_
#define CLOSERANKS_NET_TLS_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "net/socket.h"

using SSL_CTX = struct ssl_ctx_st;
using SSL = struct ssl_st;

namespace closeranks::net {

// Paths of PEM files. All are set, or none is.
struct TlsFiles {
  std::string certificate;  // of this process, followed by what leads from it to the authority
  std::string key;          // of the certificate, unencrypted
  std::string authority;    // whose certificates are trusted: the job's own, as every one is let in

  bool IsEmpty() const { return certificate.empty() && key.empty() && authority.empty(); }
  bool operator==(const TlsFiles&) const = default;
};

// What those files hold.
struct TlsTexts {
  std::string certificate;
  std::string key;
  std::string authority;
  bool operator==(const TlsTexts&) const = default;
};

// Immutable; any thread.
class TlsContext {
 public:
  // kInvalidArgument, saying which of the three is wrong and how.
  static Result<std::shared_ptr<const TlsContext>> Make(const TlsTexts& texts);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  SSL_CTX* get() const { return context_; }

 private:
  TlsContext() = default;
  SSL_CTX* context_ = nullptr;
};

// TLS 1.3 over another socket. Both sides must have a certificate of the authority; what name
// stands in it doesn't matter. Errors of TLS itself are EPROTO, or EKEYREJECTED when the other side
// refuses this one's certificate, which the client may only learn after its handshake. After the
// handshake it is used as any socket; it reads no further than the record that it deciphers, so
// nothing that was sent after a message of a handshake of one's own is swallowed with it.
class TlsSocket final : public Socket {
 public:
  enum class Role { kClient, kServer };

  // `inner` is connected and nothing of TLS has gone over it. Small reads are made of it.
  TlsSocket(std::shared_ptr<const TlsContext> context, std::unique_ptr<Socket> inner, Role role);
  ~TlsSocket() override;
  TlsSocket(const TlsSocket&) = delete;
  TlsSocket& operator=(const TlsSocket&) = delete;

  // To be called until it is true, whenever the descriptor is readable (or, with has_unsent(),
  // writable). kUnauthenticated: the other side has no certificate of the authority, or doesn't
  // speak TLS; kUnavailable: it closed. May be anybody's doing.
  Result<bool> Handshake();
  // After the handshake: 32 bytes that only the two ends of this connection know.
  std::string Binding() const;

  int descriptor() const override { return inner_->descriptor(); }
  ssize_t Receive(std::span<const iovec> parts,
                  std::vector<std::unique_ptr<Socket>>* passed) override;
  ssize_t Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) override;
  void GiveUpAfter(Duration silence) override { inner_->GiveUpAfter(silence); }
  void FinishSending() override;
  bool has_unread() const override;
  bool has_unsent() const override { return !broken_ && sent_ < outgoing_.size(); }
  std::string peer() const override { return inner_->peer(); }

 private:
  // One record from below into the cipher: as Receive.
  ssize_t FetchRecord();
  // What the cipher has put out: true when all of it has gone down; else errno is set.
  bool Flush();

  const std::shared_ptr<const TlsContext> context_;
  std::unique_ptr<Socket> inner_;
  SSL* ssl_ = nullptr;
  std::string incoming_;  // of the record that isn't whole yet
  std::string outgoing_;  // enciphered
  size_t sent_ = 0;       // of outgoing_
  bool finishing_ = false;
  bool broken_ = false;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_TLS_H_
