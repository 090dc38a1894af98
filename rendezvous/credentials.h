// What a process proves with that it belongs to the job: keys, and certificates where connections
// are encrypted.
#ifndef CLOSERANKS_RENDEZVOUS_CREDENTIALS_H_
#define CLOSERANKS_RENDEZVOUS_CREDENTIALS_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/status.h"
#include "net/background.h"
#include "net/loop.h"
#include "net/tls.h"
#include "rendezvous/handshake.h"

namespace closeranks::rendezvous {

// Where credentials come from. A supervisor hands it to its workers.
struct Security {
  std::vector<std::string> keys;  // as long as `key_file` says nothing else; at least one
  std::string key_file = {};      // absolute; empty: `keys` for good
  net::TlsFiles tls = {};         // absolute; empty: nothing is encrypted
  net::TlsTexts tls_texts = {};   // as long as `tls` has nothing that can be used; or empty
  // Also what doesn't leave this host: workers then share no memory, which can't be encrypted.
  bool encrypt_all = false;

  // They are read again and again.
  bool has_files() const { return !key_file.empty() || !tls.IsEmpty(); }
  bool operator==(const Security&) const = default;
};
void Encode(const Security& security, ByteWriter& writer);
Security DecodeSecurity(ByteReader& reader);

// The keys in the text of a key file: one a line, of at least 16 bytes, without the line's end;
// empty lines are passed over. kInvalidArgument says what is wrong, and names no part of a key.
Result<std::vector<std::string>> ParseKeys(std::string_view text);

// Reads the files again every few seconds and when a handshake failed, so that keys and
// certificates can be changed while the job runs: what can't be read or used leaves those in force
// that were. Standing connections stay. Single-threaded, on the loop.
class Credentials {
 public:
  // kInvalidArgument names the file that can't be used, where `security` has no keys, or texts, to
  // go on with.
  // `loop` outlives it, and `files` what `background` has begun. The files may lie on a disk that
  // is slow or hangs: from now on only `background` touches them; null: the loop does.
  static Result<std::unique_ptr<Credentials>> Open(
      net::Loop& loop, Files& files, Security security,
      std::unique_ptr<net::Background> background = nullptr);
  ~Credentials();
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  // As it was given, with the keys and certificates that are in force now.
  Security security() const;
  const Keys& keys() const { return keys_; }
  // Null where nothing is encrypted.
  const std::shared_ptr<const net::TlsContext>& tls() const { return tls_; }

  // Somebody couldn't prove itself, perhaps as it has newer ones. Strangers may cause it as often
  // as they like: the files are read a few times a second at most. What is new is in force later.
  void LookAgain();

 private:
  // What there was to read; none: no file is named.
  struct Found {
    std::optional<Result<std::vector<std::string>>> keys;
    std::optional<Result<net::TlsTexts>> certificates;
  };
  struct Reading;

  Credentials(net::Loop& loop, Files& files, Security security,
              std::unique_ptr<net::Background> background);

  Status UseKeys(const Found& found);
  Status UseCertificates(const Found& found);
  Status Use(const net::TlsTexts& certificates);
  void ReadAndSay();
  void UseAndSay(const Found& found);
  void Say(const Status& trouble);
  void ReadLater();

  net::Loop& loop_;
  const Security security_;
  Keys keys_;
  net::TlsTexts certificates_;  // that tls_ was made of
  std::shared_ptr<const net::TlsContext> tls_;
  TimePoint read_at_{};
  bool is_reading_ = false;
  net::TimerId timer_ = net::kNoTimer;
  std::string trouble_;  // the last, so that it is told once
  const std::shared_ptr<Reading> reading_;
  const std::unique_ptr<net::Background> background_;
};

}  // namespace closeranks::rendezvous

#endif  // CLOSERANKS_RENDEZVOUS_CREDENTIALS_H_
