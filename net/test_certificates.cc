#include "net/test_certificates.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <functional>

#include "glog/logging.h"

namespace closeranks::net {
namespace {

constexpr int kYesterday = -24 * 3600;

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string ToPem(const std::function<int(BIO*)>& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), &BIO_free_all);
  CHECK_EQ(write(bio.get()), 1);
  char* text = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<size_t>(size)};
}

Certificate Describe(const std::string& name, EVP_PKEY* key, int valid_for_s) {
  static long serial = 0;  // NOLINT(google-runtime-int)
  Certificate certificate(X509_new(), &X509_free);
  CHECK_EQ(X509_set_version(certificate.get(), X509_VERSION_3), 1);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), kYesterday);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), valid_for_s);
  CHECK_EQ(X509_set_pubkey(certificate.get(), key), 1);
  CHECK_EQ(
      X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0),
      1);
  return certificate;
}

}  // namespace

struct TestAuthority::Signer {
  Key key{EVP_EC_gen("P-256"), &EVP_PKEY_free};
  Certificate certificate{nullptr, &X509_free};
};

TestAuthority::TestAuthority(const std::string& name) : signer_(std::make_unique<Signer>()) {
  signer_->certificate = Describe(name, signer_->key.get(), 3600);
  X509* own = signer_->certificate.get();
  CHECK_EQ(X509_set_issuer_name(own, X509_get_subject_name(own)), 1);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> is_authority(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE"),
      &X509_EXTENSION_free);
  CHECK_EQ(X509_add_ext(own, is_authority.get(), -1), 1);
  CHECK_GT(X509_sign(own, signer_->key.get(), EVP_sha256()), 0);
  certificate_ = ToPem([own](BIO* bio) { return PEM_write_bio_X509(bio, own); });
}

TestAuthority::~TestAuthority() = default;

TlsTexts TestAuthority::Issue(const std::string& name, int valid_for_s) {
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Certificate certificate = Describe(name, key.get(), valid_for_s);
  CHECK_EQ(
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer_->certificate.get())),
      1);
  CHECK_GT(X509_sign(certificate.get(), signer_->key.get(), EVP_sha256()), 0);
  TlsTexts texts;
  texts.certificate = ToPem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
  texts.key = ToPem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  texts.authority = certificate_;
  return texts;
}

}  // namespace closeranks::net
