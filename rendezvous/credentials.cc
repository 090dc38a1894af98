#include "rendezvous/credentials.h"

#include <chrono>
#include <mutex>
#include <utility>

#include "glog/logging.h"

namespace closeranks::rendezvous {
namespace {

constexpr Duration kReadInterval = std::chrono::seconds(2);
constexpr Duration kLeastPause = std::chrono::milliseconds(250);
// Shorter keys could be guessed.
constexpr size_t kLeastKeyBytes = 16;
// Each may have to be tried in a handshake.
constexpr size_t kMostKeys = 16;

}  // namespace

void Encode(const Security& security, ByteWriter& writer) {
  writer.Put(static_cast<uint32_t>(security.keys.size()));
  for (const std::string& key : security.keys) writer.PutString(key);
  writer.PutString(security.key_file);
  writer.PutString(security.tls.certificate);
  writer.PutString(security.tls.key);
  writer.PutString(security.tls.authority);
  writer.PutString(security.tls_texts.certificate);
  writer.PutString(security.tls_texts.key);
  writer.PutString(security.tls_texts.authority);
  writer.Put(security.encrypt_all);
}

Security DecodeSecurity(ByteReader& reader) {
  Security security;
  const auto count = reader.Get<uint32_t>();
  for (uint32_t i = 0; i < count && i < kMostKeys; ++i) security.keys.push_back(reader.GetString());
  security.key_file = reader.GetString();
  security.tls.certificate = reader.GetString();
  security.tls.key = reader.GetString();
  security.tls.authority = reader.GetString();
  security.tls_texts.certificate = reader.GetString();
  security.tls_texts.key = reader.GetString();
  security.tls_texts.authority = reader.GetString();
  security.encrypt_all = reader.Get<uint8_t>() != 0;
  return security;
}

Result<std::vector<std::string>> ParseKeys(std::string_view text) {
  std::vector<std::string> keys;
  int line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (line.size() < kLeastKeyBytes) {
      return InvalidArgument("the key in line " + std::to_string(line_number) + " has " +
                             std::to_string(line.size()) + " bytes, expected at least " +
                             std::to_string(kLeastKeyBytes) +
                             " (make one with: openssl rand -hex 32)");
    }
    keys.emplace_back(line);
  }
  if (keys.empty()) {
    return InvalidArgument("there is no key (make one with: openssl rand -hex 32)");
  }
  if (keys.size() > kMostKeys) {
    return InvalidArgument("there are " + std::to_string(keys.size()) + " keys, expected at most " +
                           std::to_string(kMostKeys));
  }
  return keys;
}

// What this and what goes on in the background share.
struct Credentials::Reading {
  Reading(net::Loop& l, Files& f, const Security& security)
      : loop(l), files(f), key_file(security.key_file), tls(security.tls) {}

  net::Loop& loop;
  Files& files;
  const std::string key_file;
  const net::TlsFiles tls;

  std::mutex mutex;
  bool is_over = false;  // guarded by the mutex; till then the loop and the files are there

  // Of a file that was given as `flag`.
  Result<std::string> Read(const std::string& flag, const std::string& path) {
    {
      std::lock_guard lock(mutex);
      if (is_over) return Aborted("nobody waits for it any more");
    }
    auto text = files.Read(path);
    if (text.ok()) return text;
    return InvalidArgument(flag + "=" + path + ": " + text.status().message());
  }

  Result<std::vector<std::string>> ReadKeys() {
    ASSIGN_OR_RETURN(const std::string text, Read("--key-file", key_file));
    auto keys = ParseKeys(text);
    if (keys.ok()) return keys;
    return InvalidArgument("--key-file=" + key_file + ": " + keys.status().message());
  }

  Result<net::TlsTexts> ReadCertificates() {
    net::TlsTexts texts;
    ASSIGN_OR_RETURN(texts.certificate, Read("--tls-cert", tls.certificate));
    ASSIGN_OR_RETURN(texts.key, Read("--tls-key", tls.key));
    ASSIGN_OR_RETURN(texts.authority, Read("--tls-ca", tls.authority));
    return texts;
  }

  Found Look() {
    Found found;
    if (!key_file.empty()) found.keys = ReadKeys();
    if (!tls.IsEmpty()) found.certificates = ReadCertificates();
    return found;
  }
};

Credentials::Credentials(net::Loop& loop, Files& files, Security security,
                         std::unique_ptr<net::Background> background)
    : loop_(loop),
      security_(std::move(security)),
      keys_(std::make_shared<const std::vector<std::string>>(security_.keys)),
      reading_(std::make_shared<Reading>(loop, files, security_)),
      background_(std::move(background)) {}

Credentials::~Credentials() {
  loop_.Cancel(timer_);
  std::lock_guard lock(reading_->mutex);
  reading_->is_over = true;
}

Result<std::unique_ptr<Credentials>> Credentials::Open(
    net::Loop& loop, Files& files, Security security, std::unique_ptr<net::Background> background) {
  std::unique_ptr<Credentials> credentials(
      new Credentials(loop, files, std::move(security), std::move(background)));
  credentials->read_at_ = loop.Now();
  const Found found = credentials->reading_->Look();
  const Status keys = credentials->UseKeys(found);
  if (credentials->keys_->empty()) return keys;
  const net::TlsTexts& texts = credentials->security_.tls_texts;
  if (texts != net::TlsTexts()) RETURN_IF_ERROR(credentials->Use(texts));
  const Status certificates = credentials->UseCertificates(found);
  if (!certificates.ok() && credentials->tls_ == nullptr) return certificates;
  credentials->ReadLater();
  return credentials;
}

Security Credentials::security() const {
  Security security = security_;
  security.keys = *keys_;
  security.tls_texts = certificates_;
  return security;
}

Status Credentials::UseKeys(const Found& found) {
  if (!found.keys.has_value()) return OkStatus();
  RETURN_IF_ERROR(found.keys->status());
  const std::vector<std::string>& keys = **found.keys;
  if (keys == *keys_) return OkStatus();
  if (!keys_->empty()) LOG(INFO) << "there are new keys in " << security_.key_file;
  keys_ = std::make_shared<const std::vector<std::string>>(keys);
  return OkStatus();
}

Status Credentials::UseCertificates(const Found& found) {
  if (!found.certificates.has_value()) return OkStatus();
  RETURN_IF_ERROR(found.certificates->status());
  return Use(**found.certificates);
}

Status Credentials::Use(const net::TlsTexts& certificates) {
  if (tls_ != nullptr && certificates == certificates_) return OkStatus();
  auto made = net::TlsContext::Make(certificates);
  if (!made.ok())
    return InvalidArgument("--tls-cert, --tls-key, --tls-ca: " + made.status().message());
  if (tls_ != nullptr) LOG(INFO) << "there are new certificates in " << security_.tls.certificate;
  tls_ = *std::move(made);
  certificates_ = certificates;
  return OkStatus();
}

void Credentials::LookAgain() {
  if (!is_reading_ && loop_.Now() - read_at_ >= kLeastPause) ReadAndSay();
}

void Credentials::ReadAndSay() {
  if (is_reading_) {
    return Say(Unavailable("the disk with " +
                           (security_.key_file.empty() ? security_.tls.key : security_.key_file) +
                           " doesn't answer"));
  }
  read_at_ = loop_.Now();
  if (background_ == nullptr) return UseAndSay(reading_->Look());
  is_reading_ = true;
  background_->Start([this, reading = reading_] {
    Found found = reading->Look();
    std::lock_guard lock(reading->mutex);
    if (reading->is_over) return;
    reading->loop.Post([this, reading, found = std::move(found)] {
      if (reading->is_over) return;  // which is only said on this thread
      is_reading_ = false;
      UseAndSay(found);
    });
  });
}

// What is wrong may be that somebody is just writing the file.
void Credentials::UseAndSay(const Found& found) {
  const Status keys = UseKeys(found);
  const Status certificates = UseCertificates(found);
  Say(keys.ok() ? certificates : keys);
}

void Credentials::Say(const Status& trouble) {
  if (!trouble.ok() && trouble.message() != trouble_) {
    LOG(WARNING) << trouble.message() << "; going on with what was there before";
  }
  trouble_ = trouble.message();
}

void Credentials::ReadLater() {
  if (!security_.has_files()) return;
  timer_ = loop_.RunAfter(kReadInterval, [this] {
    ReadAndSay();
    ReadLater();
  });
}

}  // namespace closeranks::rendezvous
