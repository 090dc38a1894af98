#include "rendezvous/credentials.h"

#include <chrono>
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

Credentials::Credentials(net::Timers& timers, Files& files, Security security)
    : timers_(timers),
      files_(files),
      security_(std::move(security)),
      keys_(std::make_shared<const std::vector<std::string>>(security_.keys)) {}

Credentials::~Credentials() { timers_.Cancel(timer_); }

Result<std::unique_ptr<Credentials>> Credentials::Open(net::Timers& timers, Files& files,
                                                       Security security) {
  std::unique_ptr<Credentials> credentials(new Credentials(timers, files, std::move(security)));
  credentials->read_at_ = timers.Now();
  const Status keys = credentials->ReadKeys();
  if (credentials->keys_->empty()) return keys;
  const net::TlsTexts& texts = credentials->security_.tls_texts;
  if (texts != net::TlsTexts()) RETURN_IF_ERROR(credentials->Use(texts));
  const Status certificates = credentials->ReadCertificates();
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

Status Credentials::ReadKeys() {
  if (security_.key_file.empty()) return OkStatus();
  auto text = files_.Read(security_.key_file);
  auto keys = text.ok() ? ParseKeys(*text) : Result<std::vector<std::string>>(text.status());
  if (!keys.ok()) {
    return InvalidArgument("--key-file=" + security_.key_file + ": " + keys.status().message());
  }
  if (*keys == *keys_) return OkStatus();
  if (!keys_->empty()) LOG(INFO) << "there are new keys in " << security_.key_file;
  keys_ = std::make_shared<const std::vector<std::string>>(*std::move(keys));
  return OkStatus();
}

Status Credentials::ReadCertificates() {
  if (security_.tls.IsEmpty()) return OkStatus();
  net::TlsTexts texts;
  for (const auto& [flag, file, text] :
       {std::tuple("--tls-cert", &security_.tls.certificate, &texts.certificate),
        std::tuple("--tls-key", &security_.tls.key, &texts.key),
        std::tuple("--tls-ca", &security_.tls.authority, &texts.authority)}) {
    auto read = files_.Read(*file);
    if (!read.ok()) {
      return InvalidArgument(std::string(flag) + "=" + *file + ": " + read.status().message());
    }
    *text = *std::move(read);
  }
  return Use(texts);
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
  if (timers_.Now() - read_at_ >= kLeastPause) ReadAndSay();
}

// What is wrong may be that somebody is just writing the file.
void Credentials::ReadAndSay() {
  read_at_ = timers_.Now();
  const Status keys = ReadKeys();
  const Status certificates = ReadCertificates();
  const Status& read = keys.ok() ? certificates : keys;
  if (!read.ok() && read.message() != trouble_) {
    LOG(WARNING) << read.message() << "; going on with what was there before";
  }
  trouble_ = read.message();
}

void Credentials::ReadLater() {
  if (security_.key_file.empty() && security_.tls.IsEmpty()) return;
  timer_ = timers_.RunAfter(kReadInterval, [this] {
    ReadAndSay();
    ReadLater();
  });
}

}  // namespace closeranks::rendezvous
