#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

constexpr size_t kRecordHeaderBytes = 5;
constexpr size_t kMostRecordBytes = (16 << 10) + 256;
constexpr size_t kPlainBytes = 16 << 10;  // of one record
// Sent in one call, so that others get their turn.
constexpr size_t kMostAtOnce = 1 << 20;
constexpr size_t kBindingBytes = 32;
constexpr char kBindingLabel[] = "EXPORTER-closeranks";
// Of the other side's certificates.
constexpr long kMostChainBytes = 32 << 10;  // NOLINT(google-runtime-int): as OpenSSL has it

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string LastError() {
  const unsigned long code = ERR_peek_error();  // NOLINT(google-runtime-int)
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "it can't be read" : reason;
}

Bio Over(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free_all};
}

// All of the text's certificates.
std::vector<Certificate> CertificatesIn(const std::string& text) {
  std::vector<Certificate> certificates;
  const Bio bio = Over(text);
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(next, &X509_free);
  }
  ERR_clear_error();  // the last one says that there is no more
  return certificates;
}

Status Use(SSL_CTX* context, const TlsTexts& texts) {
  const std::vector<Certificate> chain = CertificatesIn(texts.certificate);
  if (chain.empty()) return InvalidArgument("there is no PEM certificate in the first");
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1) {
    return InvalidArgument("the certificate: " + LastError());
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      return InvalidArgument("the certificate's chain: " + LastError());
    }
  }
  const auto no_password = [](char*, int, int, void*) { return 0; };
  const PrivateKey key(
      PEM_read_bio_PrivateKey(Over(texts.key).get(), nullptr, no_password, nullptr),
      &EVP_PKEY_free);
  if (key == nullptr) return InvalidArgument("there is no unencrypted PEM key in the second");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return InvalidArgument("the key isn't the certificate's: " + LastError());
  }
  const std::vector<Certificate> authorities = CertificatesIn(texts.authority);
  if (authorities.empty()) return InvalidArgument("there is no PEM certificate in the third");
  for (const Certificate& authority : authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1) {
      return InvalidArgument("the authority: " + LastError());
    }
  }
  return OkStatus();
}

// To be called before each call on a connection: SSL_get_error takes what anybody has left in the
// thread's queue of errors for this connection's.
void ForgetEarlierErrors() { ERR_clear_error(); }

ssize_t Fails(int error_number) {
  errno = error_number;
  return -1;
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::Make(const TlsTexts& texts) {
  std::shared_ptr<TlsContext> context(new TlsContext());
  SSL_CTX* ssl = SSL_CTX_new(TLS_method());
  CHECK(ssl != nullptr) << LastError();
  context->context_ = ssl;
  CHECK_EQ(SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION), 1);
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // Both sides call and are called, and the authority is the job's own: one purpose is enough.
  CHECK_EQ(SSL_CTX_set_purpose(ssl, X509_PURPOSE_ANY), 1);
  SSL_CTX_set_max_cert_list(ssl, kMostChainBytes);
  // Nothing is resumed: who comes again proves itself again.
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  CHECK_EQ(SSL_CTX_set_num_tickets(ssl, 0), 1);
  const Status used = Use(ssl, texts);
  ERR_clear_error();
  RETURN_IF_ERROR(used);
  return std::shared_ptr<const TlsContext>(std::move(context));
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

TlsSocket::TlsSocket(std::shared_ptr<const TlsContext> context, std::unique_ptr<Socket> inner,
                     Role role)
    : context_(std::move(context)), inner_(std::move(inner)), ssl_(SSL_new(context_->get())) {
  CHECK(ssl_ != nullptr) << LastError();
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  role == Role::kClient ? SSL_set_connect_state(ssl_) : SSL_set_accept_state(ssl_);
}

TlsSocket::~TlsSocket() { SSL_free(ssl_); }

Result<bool> TlsSocket::Handshake() {
  const std::string who = "TLS with " + peer();
  for (;;) {
    ForgetEarlierErrors();
    const int result = SSL_do_handshake(ssl_);
    const int error = SSL_get_error(ssl_, result);
    const std::string why = error == SSL_ERROR_SSL ? LastError() : "";
    // An alert tells the other side why it was refused.
    if (!Flush() && errno != EAGAIN) return Unavailable(who + ": closed");
    if (result == 1) return !has_unsent();
    if (error != SSL_ERROR_WANT_READ) {
      broken_ = true;
      return Unauthenticated(who + ": " + why);
    }
    const ssize_t fetched = FetchRecord();
    if (fetched == 0) return Unavailable(who + ": closed within its handshake");
    if (fetched > 0) continue;
    if (errno == EAGAIN) return false;
    if (errno != EPROTO) return ErrnoStatus(errno, who);
    return Unauthenticated(who +
                           ": what it sends isn't TLS; are certificates given on every host?");
  }
}

std::string TlsSocket::Binding() const {
  std::string binding(kBindingBytes, '\0');
  CHECK_EQ(SSL_export_keying_material(ssl_, reinterpret_cast<unsigned char*>(binding.data()),
                                      binding.size(), kBindingLabel, sizeof(kBindingLabel) - 1,
                                      nullptr, 0, 0),
           1)
      << LastError();
  return binding;
}

ssize_t TlsSocket::FetchRecord() {
  for (;;) {
    size_t whole = kRecordHeaderBytes;
    if (incoming_.size() >= kRecordHeaderBytes) {
      const auto byte = [&](size_t i) { return static_cast<uint8_t>(incoming_[i]); };
      const size_t length = static_cast<size_t>(byte(3)) << 8 | byte(4);
      if (length > kMostRecordBytes) return Fails(EPROTO);
      whole += length;
    }
    const size_t had = incoming_.size();
    if (had == whole && whole > kRecordHeaderBytes) break;
    incoming_.resize(whole);
    const iovec rest{incoming_.data() + had, whole - had};
    const ssize_t received = inner_->Receive({&rest, 1}, nullptr);
    incoming_.resize(had + static_cast<size_t>(std::max<ssize_t>(received, 0)));
    if (received <= 0) return received;
    // A header that promises nothing isn't TLS.
    if (incoming_.size() == kRecordHeaderBytes && incoming_[3] == 0 && incoming_[4] == 0) {
      return Fails(EPROTO);
    }
  }
  const int size = static_cast<int>(incoming_.size());
  CHECK_EQ(BIO_write(SSL_get_rbio(ssl_), incoming_.data(), size), size);
  incoming_.clear();
  return size;
}

bool TlsSocket::Flush() {
  BIO* out = SSL_get_wbio(ssl_);
  if (const size_t more = BIO_ctrl_pending(out); more > 0) {
    outgoing_.erase(0, std::exchange(sent_, 0));
    const size_t had = outgoing_.size();
    outgoing_.resize(had + more);
    CHECK_EQ(BIO_read(out, outgoing_.data() + had, static_cast<int>(more)), static_cast<int>(more));
  }
  while (sent_ < outgoing_.size()) {
    const iovec rest{outgoing_.data() + sent_, outgoing_.size() - sent_};
    const ssize_t sent = inner_->Send({&rest, 1}, nullptr);
    if (sent < 0) {
      if (errno != EAGAIN) broken_ = true;
      return false;
    }
    sent_ += static_cast<size_t>(sent);
  }
  outgoing_.clear();
  sent_ = 0;
  if (finishing_) inner_->FinishSending();
  return true;
}

ssize_t TlsSocket::Receive(std::span<const iovec> parts,
                           std::vector<std::unique_ptr<Socket>>* /*passed*/) {
  size_t received = 0;
  for (const iovec& part : parts) {
    size_t filled = 0;
    while (filled < part.iov_len) {
      const int count = static_cast<int>(std::min<size_t>(part.iov_len - filled, kPlainBytes));
      ForgetEarlierErrors();
      const int read = SSL_read(ssl_, static_cast<char*>(part.iov_base) + filled, count);
      if (read > 0) {
        filled += static_cast<size_t>(read);
        received += static_cast<size_t>(read);
        continue;
      }
      const int error = SSL_get_error(ssl_, read);
      if (error == SSL_ERROR_ZERO_RETURN) return static_cast<ssize_t>(received);
      if (error == SSL_ERROR_WANT_READ) {
        const ssize_t fetched = FetchRecord();
        if (fetched > 0) continue;
        if (received > 0) return static_cast<ssize_t>(received);
        return fetched;
      }
      if (received > 0) return static_cast<ssize_t>(received);  // the next call finds it again
      broken_ = true;
      const bool was_refused = ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET;
      LOG_EVERY_N(WARNING, 20) << "TLS with " << peer() << ": " << LastError();
      return Fails(was_refused ? EKEYREJECTED : EPROTO);
    }
  }
  return static_cast<ssize_t>(received);
}

ssize_t TlsSocket::Send(std::span<const iovec> parts, std::unique_ptr<Socket>* passed) {
  CHECK(passed == nullptr) << "sockets don't pass over TLS";
  if (broken_ || finishing_) {
    if (finishing_ && !broken_ && parts.empty()) return Flush() ? 0 : -1;
    return Fails(EPIPE);
  }
  if (!Flush()) return -1;
  size_t taken = 0;
  std::array<char, kPlainBytes> record;
  auto part = parts.begin();
  size_t done = 0;  // of *part
  while (part != parts.end() && !has_unsent() && taken < kMostAtOnce) {
    size_t size = 0;
    for (; part != parts.end() && size < record.size(); ++part, done = 0) {
      const size_t count = std::min(part->iov_len - done, record.size() - size);
      std::memcpy(record.data() + size, static_cast<char*>(part->iov_base) + done, count);
      size += count;
      done += count;
      if (done < part->iov_len) break;
    }
    if (size == 0) break;
    ForgetEarlierErrors();
    // It always fits: what it goes into is memory.
    if (SSL_write(ssl_, record.data(), static_cast<int>(size)) != static_cast<int>(size)) {
      broken_ = true;
      LOG_EVERY_N(WARNING, 20) << "TLS with " << peer() << ": " << LastError();
      return Fails(EPROTO);
    }
    taken += size;
    if (!Flush() && errno != EAGAIN) break;  // told by the next call
  }
  return static_cast<ssize_t>(taken);
}

void TlsSocket::FinishSending() {
  if (std::exchange(finishing_, true) || broken_) return;
  ForgetEarlierErrors();
  SSL_shutdown(ssl_);
  Flush();
}

bool TlsSocket::has_unread() const { return SSL_pending(ssl_) > 0; }

}  // namespace closeranks::net
