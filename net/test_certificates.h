// Certificates for tests, made on the spot.
#ifndef CLOSERANKS_NET_TEST_CERTIFICATES_H_
#define CLOSERANKS_NET_TEST_CERTIFICATES_H_

#include <memory>
#include <string>

#include "net/tls.h"

namespace closeranks::net {

// An authority that signs what it's asked to.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  // A new key, and its certificate from yesterday until `valid_for_s` seconds from now.
  TlsTexts Issue(const std::string& name, int valid_for_s = 3600);
  // In PEM.
  const std::string& certificate() const { return certificate_; }

 private:
  struct Signer;
  std::unique_ptr<Signer> signer_;
  std::string certificate_;
};

}  // namespace closeranks::net

#endif  // CLOSERANKS_NET_TEST_CERTIFICATES_H_
